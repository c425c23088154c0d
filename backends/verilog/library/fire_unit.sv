// Integrate and fire: 1 from theta on, which is taken from the potential.
// A SIGNED neuron takes a spike back below `low`, while it has sent one or is FREE to.
module fire_unit #(
    parameter integer WIDE = 16,    // bits of all numbers here
    parameter integer NET = 4,
    parameter integer OUT = 1,
    parameter integer SIGNED = 0,
    parameter integer FREE = 0
) (
    input wire signed [WIDE-1:0] charged,
    input wire signed [WIDE-1:0] theta,
    /* verilator lint_off UNUSEDSIGNAL */  // unless it is SIGNED
    input wire signed [WIDE-1:0] low,
    input wire signed [NET-1:0] net,    // sum of what was sent before
    /* verilator lint_on UNUSEDSIGNAL */
    output wire signed [OUT-1:0] sent,
    output wire signed [WIDE-1:0] rest  // the potential after the reset
);
    wire up = charged >= theta;

    localparam signed [OUT-1:0] MINUS = {OUT{1'b1}};

    generate
        if (SIGNED != 0) begin : both
            wire down = charged < low && (FREE != 0 || net > 0);
            assign sent = down ? MINUS : {{(OUT - 1) {1'b0}}, up};
            assign rest = down ? charged + theta : up ? charged - theta : charged;
        end else begin : positive
            assign sent = up;
            assign rest = up ? charged - theta : charged;
        end
    endgenerate
endmodule
