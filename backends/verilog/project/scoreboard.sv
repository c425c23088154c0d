// Simulation only: takes what an AXI4-Stream master sends, with random pauses if there are to be
// STALLS, writes it to a file and compares it with the potentials after the last step in a hex file
// of golden traces, if there is one; TUSER with the neuron that had the largest.
module scoreboard #(
    parameter integer STEPS = 4,      // of the golden potentials
    parameter integer TDATA = 16,
    parameter integer WORD = 16,      // bits that are compared
    parameter integer TUSER = 4,
    parameter integer CHANNELS = 10,
    parameter integer PLACES = 1
) (
    input wire clk,
    input wire rst,
    input wire stalls,
    input wire [4095:0] path,
    input wire [4095:0] written,
    input wire s_axis_tvalid,
    output logic s_axis_tready,
    input wire [TDATA-1:0] s_axis_tdata,
    input wire s_axis_tlast,
    input wire [TUSER-1:0] s_axis_tuser,
    output integer samples,           // that came as a whole
    output integer compared,
    output integer differing
);
    localparam integer SIZE = CHANNELS * PLACES;
    logic [63:0] golden[0:STEPS*SIZE-1];
    integer file, results, got, i, place, channel, best;
    logic signed [TDATA-1:0] largest;
    logic opened, known, more;

    task automatic load;
        begin
            more = known;
            for (i = 0; known && i < STEPS * SIZE; i = i + 1) begin
                got = $fscanf(file, "%h\n", golden[i]);
                if (got != 1) more = 1'b0;
            end
        end
    endtask

    initial begin
        s_axis_tready = 1'b0;
        samples = 0;
        compared = 0;
        differing = 0;
        place = 0;
        channel = 0;
        opened = 1'b0;
    end

    always @(negedge clk) if (!rst) s_axis_tready = !(stalls && $urandom % 3 == 0);

    always @(posedge clk)
        if (!rst) begin
            if (!opened) begin
                file = $fopen(path, "r");
                results = $fopen(written, "w");
                known = file != 0;
                load;
                opened = 1'b1;
            end
            if (s_axis_tvalid && s_axis_tready) begin
                $fdisplay(results, "%h", s_axis_tdata);
                if (more) begin
                    compared = compared + 1;
                    if (golden[(STEPS-1)*SIZE+channel*PLACES+place][WORD-1:0]
                            != s_axis_tdata[WORD-1:0]) differing = differing + 1;
                end
                if (place + channel == 0 || $signed(s_axis_tdata) > largest) begin
                    largest = $signed(s_axis_tdata);
                    best = place * CHANNELS + channel;
                end
                channel = channel + 1;
                if (channel == CHANNELS) begin
                    channel = 0;
                    place = place + 1;
                end
                if (s_axis_tlast != (place == PLACES)) begin
                    $display("TLAST at another place than the last neuron");
                    $fatal;
                end
                if (place == PLACES) begin
                    if (s_axis_tuser != best[TUSER-1:0]) begin
                        $display("TUSER is %0d, not %0d", s_axis_tuser, best);
                        $fatal;
                    end
                    place = 0;
                    samples = samples + 1;
                    load;
                end
            end
        end
endmodule
