// Weighted sums of OUTPUTS neurons, for all time steps at once: each word of INPUTS elements is
// weighed and added to OUTPUTS x STEPS accumulators; after BEATS words the sums leave.
//
// A DIAGONAL synapse (depthwise, pooling) gives each neuron the element of its own lane alone.
// Weights are read in the order in which words come: a word of the memory holds those of all
// lanes, the element's lane fastest.
module sums #(
    parameter integer OUTPUTS = 1,
    parameter integer INPUTS = 1,
    parameter integer DIAGONAL = 0,
    parameter integer STEPS = 4,
    parameter integer BITS = 1,      // of what is sent in a step
    parameter integer SIGNED = 0,
    parameter integer POWERS = 1,    // see product
    parameter integer WEIGHT = 8,    // bits of a weight, signed
    parameter integer SUM = 16,      // bits of every partial sum, proven
    parameter integer BEATS = 1,     // words of a sum
    parameter integer DEPTH = 1,     // words of weights; then they begin anew
    parameter integer ADDRESS = 1,   // bits of their address
    parameter FILE = ""              // of the weights; all are 1 where there is none
) (
    input wire clk,
    input wire rst,
    input wire in_valid,
    output wire in_ready,
    input wire [INPUTS*STEPS*BITS-1:0] in_data,
    output logic out_valid,
    input wire out_ready,
    output logic [OUTPUTS*STEPS*SUM-1:0] out_data
);
    localparam integer ROWS = DIAGONAL != 0 ? 1 : INPUTS;
    localparam integer COUNT = BEATS == 1 ? 1 : $clog2(BEATS);
    localparam integer LAST = BEATS - 1;

    // Everything moves on together, unless a sum is ready and the one before has not left.
    logic weighed_valid, weighed_first, weighed_last;
    wire blocked = weighed_valid && weighed_last && out_valid && !out_ready;
    wire go = !blocked;

    assign in_ready = go;

    // Stage 1: words and weights.
    logic word_valid, word_first, word_last;
    logic [INPUTS*STEPS*BITS-1:0] sent;
    logic [COUNT-1:0] count;
    wire [OUTPUTS*ROWS*WEIGHT-1:0] weights;

    always_ff @(posedge clk) begin
        if (rst) begin
            word_valid <= 1'b0;
            count <= '0;
        end else if (go) begin
            word_valid <= in_valid;
            if (in_valid) count <= count == LAST[COUNT-1:0] ? '0 : count + 1'b1;
        end
        if (go) begin
            sent <= in_data;
            word_first <= count == '0;
            word_last <= count == LAST[COUNT-1:0];
        end
    end

    generate
        if (FILE == "") begin : ones
            assign weights = {(OUTPUTS * ROWS) {WEIGHT'(1)}};
        end else begin : stored
            localparam integer TOP = DEPTH - 1;
            logic [ADDRESS-1:0] address;
            always_ff @(posedge clk)
                if (rst) address <= '0;
                else if (go && in_valid)
                    address <= address == TOP[ADDRESS-1:0] ? '0 : address + 1'b1;
            rom #(
                .WIDTH(OUTPUTS * ROWS * WEIGHT),
                .DEPTH(DEPTH),
                .BITS(ADDRESS),
                .FILE(FILE)
            ) memory (
                .clk(clk),
                .read(go),
                .address(address),
                .data(weights)
            );
        end
    endgenerate

    // Stage 2: the weighed sum of a word. Stage 3: accumulators.
    always_ff @(posedge clk)
        if (rst) weighed_valid <= 1'b0;
        else if (go) begin
            weighed_valid <= word_valid;
            weighed_first <= word_first;
            weighed_last <= word_last;
        end

    genvar o, t, i;
    generate
        for (o = 0; o < OUTPUTS; o = o + 1) begin : neuron
            for (t = 0; t < STEPS; t = t + 1) begin : step
                wire [(ROWS+1)*SUM-1:0] partial /* verilator split_var */;
                logic signed [SUM-1:0] weighed, total;
                wire signed [SUM-1:0] next = weighed_first ? weighed : total + weighed;
                assign partial[0+:SUM] = '0;
                for (i = 0; i < ROWS; i = i + 1) begin : lane
                    wire signed [SUM-1:0] part;
                    product #(
                        .WEIGHT(WEIGHT),
                        .BITS(BITS),
                        .SIGNED(SIGNED),
                        .POWERS(POWERS),
                        .OUT(SUM)
                    ) times (
                        .weight(weights[(o*ROWS+i)*WEIGHT+:WEIGHT]),
                        .sent(sent[((DIAGONAL!=0?o:i)*STEPS+t)*BITS+:BITS]),
                        .result(part)
                    );
                    assign partial[(i+1)*SUM+:SUM] = partial[i*SUM+:SUM] + part;
                end
                always_ff @(posedge clk)
                    if (go) begin
                        weighed <= partial[ROWS*SUM+:SUM];
                        if (weighed_valid) total <= next;
                        if (weighed_valid && weighed_last)
                            out_data[(o*STEPS+t)*SUM+:SUM] <= next;
                    end
            end
        end
    endgenerate

    always_ff @(posedge clk)
        if (rst) out_valid <= 1'b0;
        else if (go && weighed_valid && weighed_last) out_valid <= 1'b1;
        else if (out_ready) out_valid <= 1'b0;
endmodule
