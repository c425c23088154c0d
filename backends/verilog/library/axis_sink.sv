// A readout as an AXI4-Stream master: the potential after the last step of each neuron, TLAST with
// the last neuron, and then the number of the neuron with the largest potential as TUSER (the first
// of equal ones; so far, in earlier beats).
module axis_sink #(
    parameter integer STEPS = 4,
    parameter integer BITS = 16,      // of a potential
    parameter integer TDATA = 16,
    parameter integer TUSER = 4,
    parameter integer FRAME = 10      // neurons
) (
    input wire clk,
    input wire rst,
    input wire in_valid,
    output wire in_ready,
    /* verilator lint_off UNUSEDSIGNAL */  // earlier steps
    input wire [STEPS*BITS-1:0] in_data,
    /* verilator lint_on UNUSEDSIGNAL */
    output wire m_axis_tvalid,
    input wire m_axis_tready,
    output wire [TDATA-1:0] m_axis_tdata,
    output wire m_axis_tlast,
    output wire [TUSER-1:0] m_axis_tuser
);
    localparam integer LAST = FRAME - 1;
    logic [TUSER-1:0] count, best;
    logic signed [BITS-1:0] largest;
    wire signed [BITS-1:0] value = in_data[(STEPS-1)*BITS+:BITS];
    wire last = count == LAST[TUSER-1:0];
    wire wins = count == '0 || value > largest;
    wire [TUSER-1:0] winner = wins ? count : best;

    fifo #(
        .WIDTH(1 + TUSER + TDATA)
    ) exit (
        .clk(clk),
        .rst(rst),
        .in_valid(in_valid),
        .in_ready(in_ready),
        .in_data({last, winner, TDATA'(value)}),
        .out_valid(m_axis_tvalid),
        .out_ready(m_axis_tready),
        .out_data({m_axis_tlast, m_axis_tuser, m_axis_tdata})
    );

    always_ff @(posedge clk)
        if (rst) count <= '0;
        else if (in_valid && in_ready) begin
            count <= last ? '0 : count + 1'b1;
            best <= winner;
            if (wins) largest <= value;
        end
endmodule
