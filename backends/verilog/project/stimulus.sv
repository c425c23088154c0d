// Simulation only: sends the samples of a hex file (channels first, as `spikec trace --format hex`
// writes it) to an AXI4-Stream slave, with random pauses if there are to be STALLS.
module stimulus #(
    parameter integer STEPS = 1,      // numbers of an element
    parameter integer BITS = 8,
    parameter integer TDATA = 8,
    parameter integer CHANNELS = 1,
    parameter integer PLACES = 4
) (
    input wire clk,
    input wire rst,
    input wire stalls,
    input wire [4095:0] path,
    output logic m_axis_tvalid,
    input wire m_axis_tready,
    output logic [TDATA-1:0] m_axis_tdata,
    output logic m_axis_tlast,
    output integer samples,           // sent as a whole
    output wire ended                 // all of them
);
    localparam integer SIZE = CHANNELS * PLACES;
    logic [BITS-1:0] sample[0:STEPS*SIZE-1];
    integer file, got, i, t, place, channel;
    logic loaded, more;

    assign ended = loaded && !more;

    // Reads the next sample.
    task automatic load;
        begin
            more = 1'b1;
            for (i = 0; i < STEPS * SIZE; i = i + 1) begin
                got = $fscanf(file, "%h\n", sample[i]);
                if (got != 1) more = 1'b0;
            end
        end
    endtask

    task automatic show;
        begin
            for (t = 0; t < STEPS; t = t + 1)
                m_axis_tdata[t*BITS+:BITS] = sample[t*SIZE+channel*PLACES+place];
            m_axis_tlast = place == PLACES - 1 && channel == CHANNELS - 1;
        end
    endtask

    initial begin
        m_axis_tvalid = 1'b0;
        m_axis_tdata = '0;
        m_axis_tlast = 1'b0;
        samples = 0;
        place = 0;
        channel = 0;
        more = 1'b0;
        loaded = 1'b0;
    end

    always @(negedge clk)
        if (!rst) begin
            if (!loaded) begin
                file = $fopen(path, "r");
                if (file == 0) begin
                    $display("cannot read %0s", path);
                    $fatal;
                end
                load;
                loaded = 1'b1;
            end
            if (m_axis_tvalid && accepted) begin
                m_axis_tvalid = 1'b0;
                channel = channel + 1;
                if (channel == CHANNELS) begin
                    channel = 0;
                    place = place + 1;
                end
                if (place == PLACES) begin
                    place = 0;
                    samples = samples + 1;
                    load;
                end
            end
            if (!m_axis_tvalid && more && !(stalls && $urandom % 4 == 0)) begin
                m_axis_tvalid = 1'b1;
                show;
            end
        end

    // Whether the beat was taken at the rising edge.
    logic accepted;
    always @(posedge clk) accepted <= m_axis_tvalid && m_axis_tready;
endmodule
