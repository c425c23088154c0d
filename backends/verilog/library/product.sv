// A weight times what a neuron sent in one step. Unit spikes gate the weight, payloads that are
// powers of two shift it; only numbers and other payloads need a multiplier.
module product #(
    parameter integer WEIGHT = 8,    // bits of the weight, signed
    parameter integer BITS = 1,      // of what was sent
    parameter integer SIGNED = 0,    // whether that may be negative
    parameter integer POWERS = 1,    // whether it is 0 or a power of two, of either sign
    parameter integer OUT = 16       // bits of the product, enough for all
) (
    input wire signed [WEIGHT-1:0] weight,
    input wire [BITS-1:0] sent,
    output wire signed [OUT-1:0] result
);
    wire signed [OUT-1:0] wide = OUT'(weight);

    generate
        if (BITS == 1 && SIGNED == 0) begin : gated
            assign result = sent[0] ? wide : '0;
        end else if (POWERS != 0) begin : shifted
            wire negative = SIGNED != 0 && sent[BITS-1];
            wire [BITS-1:0] size = negative ? -sent : sent;
            wire [BITS*OUT-1:0] parts /* verilator split_var */;
            genvar k;
            for (k = 0; k < BITS; k = k + 1) begin : bit_of
                wire [OUT-1:0] below = k == 0 ? '0 : parts[(k==0?0:k-1)*OUT+:OUT];
                assign parts[k*OUT+:OUT] = below | (size[k] ? wide << k : '0);
            end
            wire signed [OUT-1:0] scaled = parts[(BITS-1)*OUT+:OUT];
            assign result = negative ? -scaled : scaled;
        end else begin : multiplied
            wire signed [BITS:0] number = {SIGNED != 0 && sent[BITS-1], sent};
            assign result = wide * OUT'(number);
        end
    endgenerate
endmodule
