// The network's input as an AXI4-Stream slave: an element in each beat, pixel by pixel, channels of
// a pixel together; TLAST with the last element of a sample. `error` stays high once it came at
// another place.
module axis_source #(
    parameter integer ELEMENT = 8,
    parameter integer TDATA = 8,
    parameter integer FRAME = 4       // elements of a sample
) (
    input wire clk,
    input wire rst,
    input wire s_axis_tvalid,
    output wire s_axis_tready,
    input wire [TDATA-1:0] s_axis_tdata,
    input wire s_axis_tlast,
    output wire out_valid,
    input wire out_ready,
    output wire [ELEMENT-1:0] out_data,
    output logic error
);
    localparam integer BITS = FRAME == 1 ? 1 : $clog2(FRAME);
    localparam integer LAST = FRAME - 1;
    logic [BITS-1:0] count;
    wire last = count == LAST[BITS-1:0];
    wire take = s_axis_tvalid && s_axis_tready;

    fifo #(
        .WIDTH(ELEMENT)
    ) entrance (
        .clk(clk),
        .rst(rst),
        .in_valid(s_axis_tvalid),
        .in_ready(s_axis_tready),
        .in_data(s_axis_tdata[ELEMENT-1:0]),
        .out_valid(out_valid),
        .out_ready(out_ready),
        .out_data(out_data)
    );

    generate
        if (TDATA > ELEMENT) begin : more
            wire unread = &{1'b0, s_axis_tdata[TDATA-1:ELEMENT]};
        end
    endgenerate

    always_ff @(posedge clk)
        if (rst) begin
            count <= '0;
            error <= 1'b0;
        end else if (take) begin
            count <= last ? '0 : count + 1'b1;
            if (s_axis_tlast != last) error <= 1'b1;
        end
endmodule
