// Integer payloads: floor(v / theta), at most HIGH and at least LOW; theta times that is taken.
// A neuron that REMEMBERS takes back no more than it sent.
module fire_integer #(
    parameter integer WIDE = 16,    // bits of all numbers here
    parameter integer NET = 8,
    parameter integer OUT = 5,
    parameter integer LOW = 0,
    parameter integer HIGH = 15,
    parameter integer REMEMBERS = 0
) (
    input wire signed [WIDE-1:0] charged,
    input wire signed [WIDE-1:0] theta,
    input wire signed [NET-1:0] net,    // sum of what was sent before
    output wire signed [OUT-1:0] sent,
    output wire signed [WIDE-1:0] rest  // the potential after the reset
);
    localparam integer BITS = OUT;
    localparam signed [WIDE-1:0] ONE = 1;

    // Whole thetas in the size of the potential, rounded away from 0 below it: binary long division
    // that stops at the largest quotient of BITS bits.
    wire below = charged < 0;
    wire signed [WIDE-1:0] size = below ? theta - ONE - charged : charged;
    /* verilator lint_off UNUSEDSIGNAL */  // the last rest is taken from the potential instead
    wire [(BITS+1)*WIDE-1:0] left /* verilator split_var */;
    /* verilator lint_on UNUSEDSIGNAL */
    wire [BITS-1:0] quotient /* verilator split_var */;

    assign left[BITS*WIDE+:WIDE] = size;

    genvar k;
    generate
        for (k = 0; k < BITS; k = k + 1) begin : digit
            wire signed [WIDE-1:0] dividend = left[(k+1)*WIDE+:WIDE];
            wire signed [WIDE-1:0] unit = theta <<< k;
            assign quotient[k] = dividend >= unit;
            assign left[k*WIDE+:WIDE] = quotient[k] ? dividend - unit : dividend;
        end
    endgenerate

    // The bounds.
    localparam integer ROOM = (NET > OUT ? NET : OUT) + 2;
    wire signed [ROOM-1:0] wanted = below ? -$signed({{(ROOM - BITS) {1'b0}}, quotient})
                                          : $signed({{(ROOM - BITS) {1'b0}}, quotient});
    wire signed [ROOM-1:0] given = ROOM'(net);
    wire signed [ROOM-1:0] owed = -given;
    wire signed [ROOM-1:0] least = REMEMBERS != 0 && owed > ROOM'(LOW) ? owed : ROOM'(LOW);
    wire signed [ROOM-1:0] most = ROOM'(HIGH);
    /* verilator lint_off UNUSEDSIGNAL */  // it lies within LOW and HIGH
    wire signed [ROOM-1:0] payload = wanted < least ? least : wanted > most ? most : wanted;
    /* verilator lint_on UNUSEDSIGNAL */

    assign sent = payload[OUT-1:0];
    assign rest = charged - theta * WIDE'(payload);
endmodule
