// Checks dense_integrate.sv against the hex files of `spikec trace --format hex`, every spike and
// potential of every sample; runs in Verilator and Icarus:
//     $ verilator --binary --timing dense_integrate.sv testbench.sv
//     $ iverilog -g2012 -o testbench dense_integrate.sv testbench.sv
`timescale 1ns / 1ps
module testbench;
    localparam INPUTS = 8, NEURONS = 6, STEPS = 4, SAMPLES = 3, BITS = 24;

    logic [7:0] codes[0:SAMPLES*INPUTS-1];                     // [sample][input]
    logic [1:0] want_spikes[0:SAMPLES*STEPS*NEURONS-1];        // [sample][step][neuron], signed
    logic [BITS-1:0] want_potentials[0:SAMPLES*STEPS*NEURONS-1];
    logic clock = 0, start = 0;
    logic [8*INPUTS-1:0] sample;
    logic [NEURONS-1:0] spikes;
    logic [BITS*NEURONS-1:0] potentials;
    int differing = 0;

    dense_integrate #(
        .INPUTS(INPUTS),
        .NEURONS(NEURONS)
    ) layer (
        .clock(clock),
        .start(start),
        .codes(sample),
        .spikes(spikes),
        .potentials(potentials)
    );

    initial begin
        $readmemh("hex/x.hex", codes);
        $readmemh("hex/layer.spikes.hex", want_spikes);
        $readmemh("hex/layer.potentials.hex", want_potentials);
        for (int s = 0; s < SAMPLES; s++) begin
            for (int i = 0; i < INPUTS; i++) sample[8*i+:8] = codes[s*INPUTS+i];
            for (int t = 0; t < STEPS; t++) begin
                start = t == 0;
                #1 clock = 1;
                #1 clock = 0;
                for (int n = 0; n < NEURONS; n++) begin
                    if ({1'b0, spikes[n]} != want_spikes[(s*STEPS+t)*NEURONS+n]) differing++;
                    if (potentials[BITS*n+:BITS] != want_potentials[(s*STEPS+t)*NEURONS+n]) differing++;
                end
            end
        end
        $display("%0d of %0d differ", differing, 2 * SAMPLES * STEPS * NEURONS);
        $finish;
    end
endmodule
