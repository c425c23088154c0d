// A fully connected layer of integrate-and-fire neurons, one step in each clock: the design that
// testbench.sv checks. Weights and thresholds are read from hex files of `spikec trace`.
module dense_integrate #(
    parameter INPUTS = 8,
    parameter NEURONS = 6,
    parameter WEIGHT_BITS = 8,
    parameter STATE_BITS = 24,
    parameter FOLDER = "hex",
    parameter SYNAPSE = "synapse",
    parameter LAYER = "layer"
) (
    input logic clock,
    input logic start,                          // begin a sample: potentials are v0
    input logic [8*INPUTS-1:0] codes,           // element i in bits 8 i and up
    output logic [NEURONS-1:0] spikes,          // of the step before this clock
    output logic [STATE_BITS*NEURONS-1:0] potentials
);
    logic signed [WEIGHT_BITS-1:0] weights[0:NEURONS*INPUTS-1];   // [neuron][input]
    logic signed [STATE_BITS-1:0] theta[0:NEURONS-1];
    logic signed [STATE_BITS-1:0] v0[0:NEURONS-1];
    logic signed [STATE_BITS-1:0] v[0:NEURONS-1];

    initial begin
        $readmemh({FOLDER, "/", SYNAPSE, ".w.hex"}, weights);
        $readmemh({FOLDER, "/", LAYER, ".theta.hex"}, theta);
        $readmemh({FOLDER, "/", LAYER, ".v0.hex"}, v0);
    end

    always @(posedge clock) begin : step
        logic signed [STATE_BITS-1:0] u;
        for (int n = 0; n < NEURONS; n++) begin
            u = start ? v0[n] : v[n];
            for (int i = 0; i < INPUTS; i++)
                u = u + weights[n*INPUTS+i] * $signed({1'b0, codes[8*i+:8]});
            spikes[n] <= u >= theta[n];
            v[n] <= u >= theta[n] ? u - theta[n] : u;
        end
    end

    always_comb
        for (int n = 0; n < NEURONS; n++) potentials[STATE_BITS*n+:STATE_BITS] = v[n];
endmodule
