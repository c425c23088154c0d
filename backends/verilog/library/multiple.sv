// A counter's value times a constant: shifted where that is a power of two, else added up.
module multiple #(
    parameter integer WIDTH = 8,
    parameter integer BITS = 3,       // of the counter
    parameter [WIDTH-1:0] FACTOR = 3
) (
    /* verilator lint_off UNUSEDSIGNAL */  // where it is shifted, or added up
    input wire clk,
    input wire rst,
    input wire turn,                  // the counter moves on
    input wire top,                   // to 0
    input wire [BITS-1:0] value,
    /* verilator lint_on UNUSEDSIGNAL */
    output wire [WIDTH-1:0] result
);
    generate
        if (FACTOR == 0) begin : none
            assign result = '0;
        end else if ((FACTOR & (FACTOR - 1'b1)) == 0) begin : shifted
            wire [WIDTH-1:0] wide = {{(WIDTH - BITS) {1'b0}}, value};
            assign result = wide << $clog2(FACTOR);
        end else begin : added
            logic [WIDTH-1:0] total;
            assign result = total;
            always_ff @(posedge clk)
                if (rst) total <= '0;
                else if (turn) total <= top ? '0 : total + FACTOR;
        end
    endgenerate
endmodule
