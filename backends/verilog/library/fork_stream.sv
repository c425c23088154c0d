// One stream for several readers, each of which takes a word when it can.
module fork_stream #(
    parameter integer WIDTH = 8,
    parameter integer READERS = 2
) (
    input wire clk,
    input wire rst,
    input wire in_valid,
    output wire in_ready,
    input wire [WIDTH-1:0] in_data,
    output wire [READERS-1:0] out_valid,
    input wire [READERS-1:0] out_ready,
    output wire [WIDTH-1:0] out_data
);
    logic [READERS-1:0] served;  // who has taken the word that waits

    wire [READERS-1:0] done = served | out_ready;

    assign out_valid = in_valid ? ~served : '0;
    assign out_data = in_data;
    assign in_ready = &done;

    always_ff @(posedge clk)
        if (rst) served <= '0;
        else if (in_valid) served <= in_ready ? '0 : done;
endmodule
