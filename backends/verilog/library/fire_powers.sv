// Payloads 1, 2, 4, ...: 2^k for the largest k < LEVELS with v >= fire 2^k, which takes theta 2^k;
// -2^k where v < -fire 2^k, if so much was sent before or the neuron is FREE to.
module fire_powers #(
    parameter integer WIDE = 16,    // bits of all numbers here
    parameter integer NET = 8,
    parameter integer OUT = 5,
    parameter integer LEVELS = 4,
    parameter integer FREE = 0
) (
    input wire signed [WIDE-1:0] charged,
    input wire signed [WIDE-1:0] theta,
    input wire signed [WIDE-1:0] fire,
    input wire signed [NET-1:0] net,    // sum of what was sent before
    output wire signed [OUT-1:0] sent,
    output wire signed [WIDE-1:0] rest  // the potential after the reset
);
    // Of the levels below.
    wire [(LEVELS+1)*OUT-1:0] payload /* verilator split_var */;
    wire [(LEVELS+1)*WIDE-1:0] taken /* verilator split_var */;

    assign payload[0+:OUT] = '0;
    assign taken[0+:WIDE] = '0;
    assign sent = payload[LEVELS*OUT+:OUT];
    assign rest = charged - taken[LEVELS*WIDE+:WIDE];

    genvar k;
    generate
        for (k = 0; k < LEVELS; k = k + 1) begin : level
            localparam [OUT-1:0] ONE = 1;
            localparam signed [NET-1:0] UNIT = 1 << k;
            wire signed [WIDE-1:0] bound = fire <<< k;
            wire up = charged >= bound;
            wire down = charged < -bound && (FREE != 0 || net >= UNIT);
            assign payload[(k+1)*OUT+:OUT] = down ? -(ONE << k) : up ? ONE << k
                                                                     : payload[k*OUT+:OUT];
            assign taken[(k+1)*WIDE+:WIDE] = down ? -(theta <<< k) : up ? theta <<< k
                                                                        : taken[k*WIDE+:WIDE];
        end
    endgenerate
endmodule
