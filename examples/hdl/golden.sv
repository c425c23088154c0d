// The emitted C network as a golden model through DPI-C, checked against the hex files of
// `spikec trace --format hex`:
//     $ verilator --binary -CFLAGS "-I.. -DNETWORK_TRACE" dpi/network_dpi.sv golden.sv \
//         dpi/network_dpi.c network.c weights.c
module golden;
    import network_dpi::*;
    localparam int SAMPLES = 3, BITS = 24;

    logic [7:0] codes[0:SAMPLES*SIZE_x-1];
    logic [1:0] want_spikes[0:SAMPLES*STEPS*NEURONS_layer-1];
    logic [BITS-1:0] want_potentials[0:SAMPLES*STEPS*NEURONS_layer-1];
    byte unsigned sample[0:SIZE_x-1];
    int readout[0:SIZE_out-1];
    int differing = 0, at;

    initial begin
        $readmemh("hex/x.hex", codes);
        $readmemh("hex/layer.spikes.hex", want_spikes);
        $readmemh("hex/layer.potentials.hex", want_potentials);
        for (int s = 0; s < SAMPLES; s++) begin
            for (int i = 0; i < SIZE_x; i++) sample[i] = codes[s*SIZE_x+i];
            if (network_dpi_run(sample, readout) != 0) $fatal(1, "a value leaves its width");
            for (int t = 0; t < STEPS; t++)
                for (int n = 0; n < NEURONS_layer; n++) begin
                    at = (s * STEPS + t) * NEURONS_layer + n;
                    if (2'(network_dpi_spike(STAGE_layer, t, n)) != want_spikes[at]) differing++;
                    if (BITS'(network_dpi_potential(STAGE_layer, t, n)) != want_potentials[at]) differing++;
                end
            for (int n = 0; n < SIZE_out; n++) $write("%0d ", readout[n]);
            $write("\n");
        end
        $display("%0d of %0d differ", differing, 2 * SAMPLES * STEPS * NEURONS_layer);
        $finish;
    end
endmodule
