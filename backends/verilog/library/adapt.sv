// Elements of fewer steps or bits as elements of more: numbers that do not change are repeated in
// every step, and each number is extended.
module adapt #(
    parameter integer LANES = 1,
    parameter integer STEPS = 1,      // 1, or OUT_STEPS
    parameter integer BITS = 1,
    parameter integer SIGNED = 0,
    parameter integer OUT_STEPS = 4,
    parameter integer OUT_BITS = 2
) (
    input wire [LANES*STEPS*BITS-1:0] in_data,
    output wire [LANES*OUT_STEPS*OUT_BITS-1:0] out_data
);
    genvar i, t;
    generate
        for (i = 0; i < LANES; i = i + 1) begin : lane
            for (t = 0; t < OUT_STEPS; t = t + 1) begin : step
                wire [BITS-1:0] number = in_data[(i*STEPS+(STEPS==1?0:t))*BITS+:BITS];
                if (OUT_BITS == BITS) begin : same
                    assign out_data[(i*OUT_STEPS+t)*OUT_BITS+:OUT_BITS] = number;
                end else begin : extended
                    wire sign = SIGNED != 0 && number[BITS-1];
                    assign out_data[(i*OUT_STEPS+t)*OUT_BITS+:OUT_BITS] = {
                        {(OUT_BITS - BITS) {sign}}, number
                    };
                end
            end
        end
    endgenerate
endmodule
