// A counter of several digits, digit 0 the fastest; digit d counts from 0 to LIMITS[d] - 1.
// Each digit is handed on twice, times PLACES[d] and times POSITIONS[d]: what is no power of two
// is added up as the digit counts, so that nothing is multiplied.
module odometer #(
    parameter integer DIGITS = 2,
    parameter integer WIDTH = 8,  // bits of all numbers
    parameter [DIGITS*WIDTH-1:0] LIMITS = {8'd4, 8'd3},
    parameter [DIGITS*WIDTH-1:0] PLACES = {8'd1, 8'd1},
    parameter [DIGITS*WIDTH-1:0] POSITIONS = {8'd3, 8'd1}
) (
    input wire clk,
    input wire rst,
    input wire step,
    output wire [DIGITS*WIDTH-1:0] places,
    output wire [DIGITS*WIDTH-1:0] positions,
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
                assign places[d*WIDTH+:WIDTH] = '0;
                assign positions[d*WIDTH+:WIDTH] = '0;
                assign carry[d+1] = carry[d];
            end else begin : counted
                logic [BITS-1:0] value;
                wire top = value == TOP[BITS-1:0];
                wire turn = step && carry[d];
                assign carry[d+1] = carry[d] && top;
                always_ff @(posedge clk)
                    if (rst) value <= '0;
                    else if (turn) value <= top ? '0 : value + 1'b1;
                multiple #(
                    .WIDTH(WIDTH),
                    .BITS(BITS),
                    .FACTOR(PLACES[d*WIDTH+:WIDTH])
                ) place (
                    .clk(clk),
                    .rst(rst),
                    .turn(turn),
                    .top(top),
                    .value(value),
                    .result(places[d*WIDTH+:WIDTH])
                );
                multiple #(
                    .WIDTH(WIDTH),
                    .BITS(BITS),
                    .FACTOR(POSITIONS[d*WIDTH+:WIDTH])
                ) position (
                    .clk(clk),
                    .rst(rst),
                    .turn(turn),
                    .top(top),
                    .value(value),
                    .result(positions[d*WIDTH+:WIDTH])
                );
            end
        end
    endgenerate
endmodule
