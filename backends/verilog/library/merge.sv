// Two synapses of one neuron: FIRST words of a stream, then SECOND words of another, again and again.
module merge #(
    parameter integer WIDTH = 8,
    parameter integer FIRST = 1,
    parameter integer SECOND = 1
) (
    input wire clk,
    input wire rst,
    input wire a_valid,
    output wire a_ready,
    input wire [WIDTH-1:0] a_data,
    input wire b_valid,
    output wire b_ready,
    input wire [WIDTH-1:0] b_data,
    output wire out_valid,
    input wire out_ready,
    output wire [WIDTH-1:0] out_data
);
    localparam integer BITS = $clog2(FIRST + SECOND);
    localparam integer SWITCH = FIRST - 1;
    localparam integer END = FIRST + SECOND - 1;

    logic [BITS-1:0] count;
    logic second;

    assign out_valid = second ? b_valid : a_valid;
    assign out_data = second ? b_data : a_data;
    assign a_ready = out_ready && !second;
    assign b_ready = out_ready && second;

    always_ff @(posedge clk)
        if (rst) begin
            count <= '0;
            second <= 1'b0;
        end else if (out_valid && out_ready) begin
            count <= count == END[BITS-1:0] ? '0 : count + 1'b1;
            if (count == SWITCH[BITS-1:0]) second <= 1'b1;
            else if (count == END[BITS-1:0]) second <= 1'b0;
        end
endmodule
