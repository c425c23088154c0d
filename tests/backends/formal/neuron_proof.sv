// The cell of a neuron, T steps one after the other: for all sums within their proven bounds the
// potential stays within STATE bits, and no arithmetic wraps in WIDE bits.
module neuron_proof #(
    parameter integer STEPS = 4,
    parameter integer SUM = 14,
    parameter integer STATE = 16,
    parameter integer WIDE = 18,
    parameter integer NET = 4,
    parameter integer SIGNED = 0,
    parameter integer FREE = 0,
    parameter integer LOW = 0,       // of what arrives in a step, the bias included
    parameter integer HIGH = 0,
    parameter integer MEAN_LOW = 0,  // of the mean over the first steps, which signed neurons bound
    parameter integer MEAN_HIGH = 0,
    parameter integer START = 0,
    parameter integer THETA = 1,
    parameter integer LEVEL = 0
) (
    input wire [STEPS*SUM-1:0] sums
);
    localparam integer OUT = 1 + SIGNED;
    localparam integer EXACT = WIDE + 4;  // bits in which nothing wraps
    localparam signed [WIDE-1:0] V0 = START;
    localparam signed [WIDE-1:0] TH = THETA;
    localparam signed [WIDE-1:0] LV = LEVEL;
    wire [(STEPS+1)*STATE-1:0] potentials;
    wire [(STEPS+1)*NET-1:0] nets;

    assign potentials[0+:STATE] = V0[STATE-1:0];
    assign nets[0+:NET] = 0;
    wire [(STEPS+1)*EXACT-1:0] totals;
    assign totals[0+:EXACT] = 0;

    genvar t;
    generate
        for (t = 0; t < STEPS; t = t + 1) begin : step
            wire signed [SUM-1:0] sum = sums[t*SUM+:SUM];
            wire signed [STATE-1:0] before_ = potentials[t*STATE+:STATE];
            wire signed [NET-1:0] net = nets[t*NET+:NET];
            wire signed [WIDE-1:0] charged = before_ + sum;
            wire signed [EXACT-1:0] exact = before_ + sum;
            wire signed [OUT-1:0] sent;
            wire signed [WIDE-1:0] rest;
            wire signed [EXACT-1:0] taken = (SIGNED != 0 && sent[OUT-1]) ? -TH : sent[0] ? TH : 0;
            wire signed [EXACT-1:0] left = exact - taken;
            wire signed [STATE-1:0] kept = rest[STATE-1:0];
            fire_unit #(
                .WIDE(WIDE), .NET(NET), .OUT(OUT), .SIGNED(SIGNED), .FREE(FREE)
            ) cell_of (
                .charged(charged), .theta(TH), .low(LV), .net(net), .sent(sent), .rest(rest)
            );
            assign potentials[(t+1)*STATE+:STATE] = kept;
            if (SIGNED != 0) begin : counted
                assign nets[(t+1)*NET+:NET] = net + sent;
            end else begin : unsigned_
                assign nets[(t+1)*NET+:NET] = 0;
            end
            wire signed [EXACT-1:0] earlier = totals[t*EXACT+:EXACT];
            wire signed [EXACT-1:0] total = earlier + sum;
            assign totals[(t+1)*EXACT+:EXACT] = total;
            always @* begin
                assume (sum >= LOW && sum <= HIGH);
                assume (total >= (t + 1) * MEAN_LOW && total <= (t + 1) * MEAN_HIGH);
                assert (charged == exact);
                assert (rest == left);
                assert (kept == rest);
                if (SIGNED != 0 && FREE == 0) assert (net >= 0 && net <= t);
            end
        end
    endgenerate
endmodule
