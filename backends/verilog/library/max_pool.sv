// Max pooling of spikes: in each step the change of the largest net sum N of a window, so that what
// leaves adds up to the largest. Of digits, the highest first (RADIX), N doubles with each step.
module max_pool #(
    parameter integer STEPS = 4,
    parameter integer BITS = 1,      // of a spike that comes
    parameter integer SIGNED = 0,
    parameter integer RADIX = 0,
    parameter integer STATE = 4,     // bits of N, signed, and of its lowest value less 1
    parameter integer OUT = 1,       // bits of a spike that leaves
    parameter integer TAPS = 4,      // of a window
    /* verilator lint_off UNUSEDPARAM */
    parameter PROBE = ""             // in simulation: where to write spikes and maxima
    /* verilator lint_on UNUSEDPARAM */
) (
    input wire clk,
    input wire rst,
    input wire in_valid,
    output wire in_ready,
    input wire in_inside,            // pads hold no neurons and never win
    input wire [STEPS*BITS-1:0] in_data,
    output logic out_valid,
    input wire out_ready,
    output logic [STEPS*OUT-1:0] out_data
);
    localparam integer COUNT = TAPS == 1 ? 1 : $clog2(TAPS);
    localparam integer LAST = TAPS - 1;
    localparam signed [STATE-1:0] LEAST = {1'b1, {(STATE - 1) {1'b0}}};

    logic counted, counted_first, counted_last;
    wire go = !(counted && counted_last && out_valid && !out_ready);

    assign in_ready = go;

    logic [COUNT-1:0] count;
    wire [(STEPS+1)*STATE-1:0] nets /* verilator split_var */;  // N after so many steps
    /* verilator lint_off UNUSEDSIGNAL */  // only probes read the last one
    wire [STEPS*STATE-1:0] best_now /* verilator split_var */;
    /* verilator lint_on UNUSEDSIGNAL */
    wire [STEPS*OUT-1:0] changes;

    assign nets[0+:STATE] = '0;

    genvar t;
    generate
        for (t = 0; t < STEPS; t = t + 1) begin : step
            wire signed [BITS:0] spike = {SIGNED != 0 && in_data[t*BITS+BITS-1],
                                          in_data[t*BITS+:BITS]};
            wire signed [STATE-1:0] earlier = nets[t*STATE+:STATE];
            wire signed [STATE-1:0] kept = RADIX != 0 ? earlier <<< 1 : earlier;
            assign nets[(t+1)*STATE+:STATE] = kept + STATE'(spike);

            logic signed [STATE-1:0] net, best;
            wire signed [STATE-1:0] rival = counted_first ? LEAST : best;
            wire signed [STATE-1:0] larger = net > rival ? net : rival;
            wire signed [STATE-1:0] was;
            assign best_now[t*STATE+:STATE] = larger;
            if (t == 0) begin : from_none
                assign was = '0;
            end else begin : from_before
                wire signed [STATE-1:0] previous = best_now[(t-1)*STATE+:STATE];
                assign was = RADIX != 0 ? previous <<< 1 : previous;
            end
            /* verilator lint_off UNUSEDSIGNAL */  // it is proven to fit OUT bits
            wire signed [STATE-1:0] change = larger - was;
            /* verilator lint_on UNUSEDSIGNAL */
            if (OUT <= STATE) begin : narrow
                assign changes[t*OUT+:OUT] = change[OUT-1:0];
            end else begin : wide
                assign changes[t*OUT+:OUT] = OUT'(change);
            end

            always_ff @(posedge clk)
                if (go) begin
                    net <= in_inside ? nets[(t+1)*STATE+:STATE] : LEAST;
                    if (counted) best <= larger;
                end
        end
    endgenerate

    always_ff @(posedge clk) begin
        if (rst) begin
            counted <= 1'b0;
            count <= '0;
            out_valid <= 1'b0;
        end else begin
            if (go) begin
                counted <= in_valid;
                if (in_valid) count <= count == LAST[COUNT-1:0] ? '0 : count + 1'b1;
            end
            if (go && counted && counted_last) out_valid <= 1'b1;
            else if (out_ready) out_valid <= 1'b0;
        end
        if (go) begin
            counted_first <= count == '0;
            counted_last <= count == LAST[COUNT-1:0];
            if (counted && counted_last) out_data <= changes;
        end
    end

`ifdef SPIKEC_PROBES
    probe #(
        .FILE(PROBE),
        .LOWER(STEPS * OUT),
        .UPPER(STEPS * STATE)
    ) probe (
        .clk(clk),
        .valid(go && counted && counted_last && !rst),
        .lower(changes),
        .upper(best_now)
    );
`endif
endmodule
