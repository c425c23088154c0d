// Binary digits, the highest first: 1 where the potential reaches theta 2^(steps left), which is
// taken from it; a FREE neuron sends the digits of negative potentials as -1.
module fire_radix #(
    parameter integer WIDE = 16,    // bits of all numbers here
    parameter integer OUT = 1,
    parameter integer LEFT = 3,     // bits of `left`
    parameter integer FREE = 0
) (
    input wire signed [WIDE-1:0] charged,
    input wire signed [WIDE-1:0] theta,
    input wire [LEFT-1:0] left,         // steps that follow
    output wire signed [OUT-1:0] sent,
    output wire signed [WIDE-1:0] rest  // the potential after the reset
);
    wire signed [WIDE-1:0] unit = theta <<< left;
    wire up = charged >= unit;

    localparam signed [OUT-1:0] MINUS = {OUT{1'b1}};

    generate
        if (FREE != 0) begin : both
            wire down = charged <= -unit;
            assign sent = down ? MINUS : {{(OUT - 1) {1'b0}}, up};
            assign rest = down ? charged + unit : up ? charged - unit : charged;
        end else begin : positive
            assign sent = up;
            assign rest = up ? charged - unit : charged;
        end
    endgenerate
endmodule
