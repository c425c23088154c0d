// The neurons of a layer: the sums of all steps are scanned through the rule, a step in each cycle,
// with the potential in a register. UNITS neurons are computed at once; what they sent leaves
// element by element, all steps of an element together.
//
// RULE says what fires: see the numbers below. A readout ACCUMULATEs and sends its potential, a
// CURRENT sends the sum itself.
// One that GATHERS takes STEPS cycles for its input and STEPS more to fire.
module neurons #(
    parameter integer NEURONS = 4,     // whose sums come together
    parameter integer UNITS = 1,       // computed at once, a divisor of NEURONS
    parameter integer STEPS = 4,
    parameter integer SUM_STEPS = 4,   // 1 where sums do not change from step to step
    parameter integer SUM = 16,        // bits of a sum
    parameter integer STATE = 17,      // bits of a potential, proven
    parameter integer WIDE = 18,       // bits of all numbers that it is compared with
    parameter integer NET = 4,         // bits of the sum of what was sent
    parameter integer OUT = 1,         // bits of what is sent in a step
    parameter integer RULE = 0,
    parameter integer GATHERS = 0,
    parameter integer DOUBLES = 0,     // the potential is doubled before a sum joins it
    parameter integer FREE = 0,        // spikes of both signs in any order
    parameter integer LEVELS = 1,      // payloads 1, 2, 4, ... of "powers"
    parameter integer LOW = 0,         // payloads of "integer"
    parameter integer HIGH = 1,
    parameter integer LIMITED = 0,     // potentials are not proven to lie in LOWEST to HIGHEST
    parameter signed [WIDE-1:0] LOWEST = 0,
    parameter signed [WIDE-1:0] HIGHEST = 0,
    parameter integer BIAS = 8,        // bits of the constants of a neuron, signed
    parameter integer START = 8,
    parameter integer THETA = 8,
    parameter integer LEVEL = 1,       // `low` of "signed", `fire` of "powers"
    parameter integer DEPTH = 1,       // words of constants, those of UNITS neurons in each
    parameter integer ADDRESS = 1,     // bits of their address
    parameter FILE = "",               // of the constants; without it all neurons have ONLY
    parameter [BIAS+START+THETA+LEVEL-1:0] ONLY = 0,
    /* verilator lint_off UNUSEDPARAM */
    parameter PROBE = ""               // in simulation: where to write spikes and potentials
    /* verilator lint_on UNUSEDPARAM */
) (
    input wire clk,
    input wire rst,
    input wire in_valid,
    output wire in_ready,
    input wire [NEURONS*SUM_STEPS*SUM-1:0] in_data,
    output wire out_valid,
    input wire out_ready,
    output wire [STEPS*OUT-1:0] out_data,
    output logic overflow              // a potential has left its limits; stays high
);
    // Rules, as the printed network numbers them.
    localparam integer INTEGRATE = 0, SIGNED = 1, POWERS = 2, INTEGER = 3, RADIX = 4, ACCUMULATE = 5;

    localparam integer CYCLES = GATHERS != 0 ? 2 * STEPS : STEPS;
    localparam integer TIME = CYCLES == 1 ? 1 : $clog2(CYCLES);
    localparam integer END = CYCLES - 1;
    localparam integer TURNS = NEURONS / UNITS;
    localparam integer TURN = TURNS == 1 ? 1 : $clog2(TURNS);
    localparam integer FINAL = TURNS - 1;
    localparam integer CONSTANTS = BIAS + START + THETA + LEVEL;
    localparam integer ELEMENT = STEPS * OUT;

    // The sums that wait, and the place of the scan.
    logic held;
    logic [NEURONS*SUM_STEPS*SUM-1:0] sums_left;
    wire [NEURONS*SUM_STEPS*SUM-1:0] arranged;
    logic [TIME-1:0] cycle;
    logic [TURN-1:0] turn;
    wire room;                          // for what this turn sends
    wire ends = cycle == END[TIME-1:0];
    wire go = held && (!ends || room);
    wire finishes = go && ends;
    wire empties = finishes && turn == FINAL[TURN-1:0];
    wire load = in_valid && in_ready;
    wire fires;                         // in the half of the scan in which spikes are sent
    wire uses = go && (SUM_STEPS == 1 ? ends : GATHERS == 0 || !fires);

    assign in_ready = !held || empties;

    always_ff @(posedge clk) begin
        if (rst) begin
            held <= 1'b0;
            cycle <= '0;
            turn <= '0;
        end else begin
            if (load) held <= 1'b1;
            else if (empties) held <= 1'b0;
            if (go) cycle <= ends ? '0 : cycle + 1'b1;
            if (finishes) turn <= empties ? '0 : turn + 1'b1;
        end
        if (load) sums_left <= arranged;
        else if (uses) sums_left <= sums_left >> (UNITS * SUM);
    end

    // By turn, step and unit, so that the sums of a step always lie lowest.
    genvar r, n, s;
    generate
        for (r = 0; r < TURNS; r = r + 1) begin : of_turn
            for (n = 0; n < UNITS; n = n + 1) begin : of_unit
                for (s = 0; s < SUM_STEPS; s = s + 1) begin : of_step
                    assign arranged[((r*SUM_STEPS+s)*UNITS+n)*SUM+:SUM] =
                        in_data[((r*UNITS+n)*SUM_STEPS+s)*SUM+:SUM];
                end
            end
        end
    endgenerate

    // Constants of the neurons of this turn.
    wire [UNITS*CONSTANTS-1:0] constants;
    generate
        if (FILE == "") begin : same
            assign constants = {UNITS{ONLY}};
        end else begin : memory_of
            localparam integer TOP = DEPTH - 1;
            logic [ADDRESS-1:0] address;
            wire [ADDRESS-1:0] following = address == TOP[ADDRESS-1:0] ? '0 : address + 1'b1;
            always_ff @(posedge clk)
                if (rst) address <= '0;
                else if (finishes) address <= following;
            rom #(
                .WIDTH(UNITS * CONSTANTS),
                .DEPTH(DEPTH),
                .BITS(ADDRESS),
                .FILE(FILE)
            ) memory (
                .clk(clk),
                .read(1'b1),
                .address(finishes && !rst ? following : address),
                .data(constants)
            );
        end
    endgenerate

    // The step in a half of the scan.
    wire [TIME-1:0] step;
    generate
        if (GATHERS != 0) begin : halves
            localparam integer HALF = STEPS;
            assign fires = cycle >= HALF[TIME-1:0];
            assign step = fires ? cycle - HALF[TIME-1:0] : cycle;
        end else begin : whole
            assign fires = 1'b1;
            assign step = cycle;
        end
    endgenerate
    wire starts = cycle == '0;
    wire [TIME-1:0] last_step = END[TIME-1:0] - (GATHERS != 0 ? STEPS[TIME-1:0] : '0);
    /* verilator lint_off UNUSEDSIGNAL */  // only "radix" asks
    wire [TIME-1:0] steps_left = last_step - step;
    /* verilator lint_on UNUSEDSIGNAL */

    wire [UNITS*ELEMENT-1:0] elements;
    wire [UNITS-1:0] outside;

    always_ff @(posedge clk)
        if (rst) overflow <= 1'b0;
        else if (go && fires && outside != '0) overflow <= 1'b1;

    genvar u;
    generate
        for (u = 0; u < UNITS; u = u + 1) begin : unit
            wire signed [BIAS-1:0] bias = constants[u*CONSTANTS+:BIAS];
            wire signed [START-1:0] start = constants[u*CONSTANTS+BIAS+:START];
            /* verilator lint_off UNUSEDSIGNAL */  // rules read what they need
            wire signed [THETA-1:0] theta = constants[u*CONSTANTS+BIAS+START+:THETA];
            wire signed [LEVEL-1:0] level = constants[u*CONSTANTS+BIAS+START+THETA+:LEVEL];

            /* verilator lint_on UNUSEDSIGNAL */

            // The sum of this step, and the potential that it charges.
            wire signed [SUM-1:0] sum = sums_left[u*SUM+:SUM];

            logic signed [STATE-1:0] potential;
            /* verilator lint_off UNUSEDSIGNAL */
            logic signed [NET-1:0] net;
            /* verilator lint_on UNUSEDSIGNAL */
            wire signed [WIDE-1:0] stored = WIDE'(potential);
            wire signed [WIDE-1:0] first = RULE == RADIX ? '0 : WIDE'(start);
            wire signed [WIDE-1:0] kept = starts ? first : DOUBLES != 0 ? stored <<< 1 : stored;
            wire signed [WIDE-1:0] charged_now = kept + WIDE'(sum) + WIDE'(bias);
            /* verilator lint_off UNUSEDSIGNAL */
            wire signed [NET-1:0] net_now = step == '0 ? '0 : net;

            /* verilator lint_on UNUSEDSIGNAL */

            // What fires: the charged potential, or what was gathered.
            wire signed [WIDE-1:0] charged;
            if (GATHERS == 0) begin : at_once
                assign charged = charged_now;
            end else if (RULE == RADIX) begin : after_join
                wire signed [WIDE-1:0] added = WIDE'(start);
                wire signed [WIDE-1:0] joins = FREE != 0 && stored < 0 ? -added : added;
                assign charged = step == '0 ? stored + joins : stored;
            end else begin : after_window
                assign charged = stored;
            end

            wire signed [OUT-1:0] sent;
            wire signed [WIDE-1:0] rest;
            if (RULE == INTEGRATE || RULE == SIGNED) begin : rule
                fire_unit #(
                    .WIDE(WIDE), .NET(NET), .OUT(OUT),
                    .SIGNED(RULE == SIGNED ? 1 : 0), .FREE(FREE)
                ) cell_of (
                    .charged(charged), .theta(WIDE'(theta)), .low(WIDE'(level)), .net(net_now),
                    .sent(sent), .rest(rest)
                );
            end else if (RULE == POWERS) begin : rule
                fire_powers #(
                    .WIDE(WIDE), .NET(NET), .OUT(OUT), .LEVELS(LEVELS), .FREE(FREE)
                ) cell_of (
                    .charged(charged), .theta(WIDE'(theta)), .fire(WIDE'(level)), .net(net_now),
                    .sent(sent), .rest(rest)
                );
            end else if (RULE == INTEGER) begin : rule
                fire_integer #(
                    .WIDE(WIDE), .NET(NET), .OUT(OUT), .LOW(LOW), .HIGH(HIGH),
                    .REMEMBERS(FREE != 0 || GATHERS != 0 ? 0 : 1)
                ) cell_of (
                    .charged(charged), .theta(WIDE'(theta)), .net(net_now),
                    .sent(sent), .rest(rest)
                );
            end else if (RULE == RADIX) begin : rule
                fire_radix #(
                    .WIDE(WIDE), .OUT(OUT), .LEFT(TIME), .FREE(FREE)
                ) cell_of (
                    .charged(charged), .theta(WIDE'(theta)), .left(steps_left),
                    .sent(sent), .rest(rest)
                );
            end else if (RULE == ACCUMULATE) begin : rule
                assign sent = charged[OUT-1:0];
                assign rest = charged;
            end else begin : rule
                assign sent = charged[OUT-1:0];
                assign rest = '0;
            end

            /* verilator lint_off UNUSEDSIGNAL */  // it is proven to fit STATE bits
            wire signed [WIDE-1:0] after = fires ? rest : charged_now;
            /* verilator lint_on UNUSEDSIGNAL */
            assign outside[u] = LIMITED != 0 && (charged < LOWEST || charged > HIGHEST ||
                                                 after < LOWEST || after > HIGHEST);
            always_ff @(posedge clk)
                if (go) begin
                    potential <= after[STATE-1:0];
                    net <= fires ? net_now + NET'(sent) : '0;
                end

            // What was sent in earlier steps lies beside what is sent now.
            if (STEPS == 1) begin : only
                assign elements[u*ELEMENT+:ELEMENT] = sent;
            end else begin : gathered
                logic [ELEMENT-OUT-1:0] earlier;
                wire [ELEMENT-1:0] joined = {sent, earlier};
                assign elements[u*ELEMENT+:ELEMENT] = joined;
                always_ff @(posedge clk) if (go) earlier <= joined[ELEMENT-1:OUT];
            end

`ifdef SPIKEC_PROBES
            logic [STEPS*STATE-1:0] trace;
            wire [(STEPS+1)*STATE-1:0] traced = {after[STATE-1:0], trace};
            always_ff @(posedge clk) if (go) trace <= traced[(STEPS+1)*STATE-1:STATE];
`endif
        end
    endgenerate

`ifdef SPIKEC_PROBES
    // Words of all neurons in the order of the stream: potentials above, spikes below.
    wire [UNITS*STEPS*STATE-1:0] potentials;
    genvar p;
    generate
        for (p = 0; p < UNITS; p = p + 1) begin : traced
            assign potentials[p*STEPS*STATE+:STEPS*STATE] =
                unit[p].traced[(STEPS+1)*STATE-1:STATE];
        end
    endgenerate
    probe #(
        .FILE(PROBE),
        .COUNT(UNITS),
        .LOWER(ELEMENT),
        .UPPER(STEPS * STATE)
    ) probe (
        .clk(clk),
        .valid(finishes && !rst),
        .lower(elements),
        .upper(potentials)
    );
`endif

    // Leaving, element by element.
    localparam integer LEAVING = $clog2(UNITS + 1);
    localparam integer ALL = UNITS;
    logic [LEAVING-1:0] leaving;
    logic [UNITS*ELEMENT-1:0] queue;
    wire take = out_valid && out_ready;

    assign out_valid = leaving != '0;
    assign out_data = queue[ELEMENT-1:0];
    assign room = leaving == '0 || (leaving == LEAVING'(1) && out_ready);

    always_ff @(posedge clk) begin
        if (rst) leaving <= '0;
        else if (finishes) leaving <= ALL[LEAVING-1:0];
        else if (take) leaving <= leaving - 1'b1;
        if (finishes) queue <= elements;
        else if (take) queue <= queue >> ELEMENT;
    end
endmodule
