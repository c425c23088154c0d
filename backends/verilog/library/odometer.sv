// A counter of several digits, digit 0 the fastest; digit d counts from 0 to LIMITS[d] - 1.
module odometer #(
    parameter integer DIGITS = 2,
    parameter integer WIDTH = 8,  // bits of a digit as it is handed on
    parameter [DIGITS*WIDTH-1:0] LIMITS = {8'd4, 8'd3}
) (
    input wire clk,
    input wire rst,
    input wire step,
    output wire [DIGITS*WIDTH-1:0] count,
    output wire wrap  // all digits are at their last: the next step begins anew
);
    wire [DIGITS:0] carry /* verilator split_var */;

    assign carry[0] = 1'b1;
    assign wrap = carry[DIGITS];

    genvar d;
    generate
        for (d = 0; d < DIGITS; d = d + 1) begin : digit
            localparam [WIDTH-1:0] LIMIT = LIMITS[d*WIDTH+:WIDTH];
            localparam [WIDTH-1:0] TOP = LIMIT - 1'b1;
            localparam integer BITS = $clog2(LIMIT);
            if (BITS == 0) begin : fixed
                assign count[d*WIDTH+:WIDTH] = '0;
                assign carry[d+1] = carry[d];
            end else begin : counted
                logic [BITS-1:0] value;
                wire top = value == TOP[BITS-1:0];
                assign count[d*WIDTH+:WIDTH] = {{(WIDTH - BITS) {1'b0}}, value};
                assign carry[d+1] = carry[d] && top;
                always_ff @(posedge clk)
                    if (rst) value <= '0;
                    else if (step && carry[d]) value <= top ? '0 : value + 1'b1;
            end
        end
    endgenerate
endmodule
