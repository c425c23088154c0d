// What a synapse reads: a ring of memory that holds a part of a map, and the walk over its taps.
//
// Elements come pixel by pixel, the channels of a pixel together. LANES channels share a word.
// For each output pixel, block of channels and repetition, the words of all taps leave in order;
// where a tap lies beside the map, a word of zeros. A word is read as soon as it has come, and
// its place is free once no later pixel reads it. The ring is line buffer, frame buffer and FIFO
// of residual branches in one: only its size differs.
//
// Along each axis (axis 0 the fastest) output o reads, with tap k, place
// (STRIDES o + DILATIONS k - PADS) / UPS, where that is whole and on the map.
module window #(
    parameter integer ELEMENT = 4,  // bits of an element: all its time steps
    parameter integer LANES = 1,    // channels in a word
    parameter integer RING = 4,     // the ring holds 2^RING words
    parameter integer WIDTH = 8,    // bits of places and of positions in the stream, signed
    parameter integer AXES = 1,
    parameter [AXES*WIDTH-1:0] OUTPUTS = 4,
    parameter [AXES*WIDTH-1:0] TAPS = 1,
    parameter [AXES*WIDTH-1:0] STRIDES = 1,
    parameter [AXES*WIDTH-1:0] DILATIONS = 1,
    parameter [AXES*WIDTH-1:0] PADS = 0,
    parameter [AXES*WIDTH-1:0] INPUTS = 4,
    parameter [AXES*WIDTH-1:0] UPS = 1,
    parameter [AXES*WIDTH-1:0] PITCHES = 1,         // words from one place to the next,
    parameter [AXES*WIDTH-1:0] STRIDE_PITCHES = 1,  // times strides,
    parameter [AXES*WIDTH-1:0] TAP_PITCHES = 1,     // and times dilations
    parameter integer FREES = 1,     // slowest axes whose progress frees places of the ring
    parameter integer BLOCKS = 1,    // parts of the channels, read one after the other
    parameter integer REPEATS = 1,   // times that each is read
    parameter integer BEATS = 1,     // words of a block
    parameter integer FRAME = 4      // words of a sample
) (
    input wire clk,
    input wire rst,
    input wire in_valid,
    output wire in_ready,
    input wire [ELEMENT-1:0] in_data,
    output logic out_valid,
    input wire out_ready,
    output logic out_inside,         // the tap lies on the map
    output wire [LANES*ELEMENT-1:0] out_data
);
    localparam integer WORD = LANES * ELEMENT;
    localparam signed [WIDTH-1:0] ROOM = 1 << RING;

    // Positions in the stream of words, counted over all samples, modulo 2^WIDTH.
    logic signed [WIDTH-1:0] written;   // the next word that comes
    logic signed [WIDTH-1:0] released;  // the first word that is still needed
    logic signed [WIDTH-1:0] frame;     // where the sample begins that is read

    // Writing: elements are gathered into words.
    wire [WORD-1:0] word;
    wire full, put;
    wire signed [WIDTH-1:0] held = written - released;

    generate
        if (LANES == 1) begin : single
            assign full = 1'b1;
            assign word = in_data;
        end else begin : several
            localparam integer BITS = $clog2(LANES);
            localparam [BITS-1:0] LAST = LANES[BITS-1:0] - 1'b1;
            logic [BITS-1:0] lane;
            logic [WORD-ELEMENT-1:0] earlier;
            wire [WORD-1:0] joined = {in_data, earlier};
            assign full = lane == LAST;
            assign word = joined;
            always_ff @(posedge clk) begin
                if (rst) lane <= '0;
                else if (in_valid && in_ready) lane <= full ? '0 : lane + 1'b1;
                if (in_valid && in_ready) earlier <= joined[WORD-1:ELEMENT];
            end
        end
    endgenerate

    assign in_ready = !full || held < ROOM;
    assign put = in_valid && in_ready && full;

    always_ff @(posedge clk)
        if (rst) written <= '0;
        else if (put) written <= written + 1'b1;

    // Walking: digits are beat, taps, repetition, block, output pixel. What a digit adds to the
    // place on its axis, and to the position in the stream:
    localparam integer DIGITS = 2 * AXES + 3;
    localparam [WIDTH-1:0] NONE = '0;
    localparam [WIDTH-1:0] ONE = 1;
    localparam [WIDTH-1:0] BLOCK = BEATS[WIDTH-1:0];
    /* verilator lint_off UNUSEDSIGNAL */  // which repetition it is changes no address
    wire [DIGITS*WIDTH-1:0] places, positions;
    /* verilator lint_on UNUSEDSIGNAL */
    wire step, wrap;

    odometer #(
        .DIGITS(DIGITS),
        .WIDTH(WIDTH),
        .LIMITS({OUTPUTS, BLOCKS[WIDTH-1:0], REPEATS[WIDTH-1:0], TAPS, BLOCK}),
        .PLACES({STRIDES, NONE, NONE, DILATIONS, NONE}),
        .POSITIONS({STRIDE_PITCHES, BLOCK, NONE, TAP_PITCHES, ONE})
    ) walk (
        .clk(clk),
        .rst(rst),
        .step(step),
        .places(places),
        .positions(positions),
        .wrap(wrap)
    );

    // Sums over the first axes.
    wire [AXES:0] on_map /* verilator split_var */;
    wire [(AXES+1)*WIDTH-1:0] index_of /* verilator split_var */;
    wire [(AXES+1)*WIDTH-1:0] release_of /* verilator split_var */;

    assign index_of[0+:WIDTH] = frame + positions[(AXES+2)*WIDTH+:WIDTH] + positions[0+:WIDTH];
    assign release_of[0+:WIDTH] = frame;
    assign on_map[0] = 1'b1;

    genvar a;
    generate
        for (a = 0; a < AXES; a = a + 1) begin : axis
            localparam signed [WIDTH-1:0] PAD = PADS[a*WIDTH+:WIDTH];
            localparam signed [WIDTH-1:0] INPUT = INPUTS[a*WIDTH+:WIDTH];
            localparam signed [WIDTH-1:0] UP = UPS[a*WIDTH+:WIDTH];
            localparam signed [WIDTH-1:0] PITCH = PITCHES[a*WIDTH+:WIDTH];
            localparam signed [WIDTH-1:0] PADDED = PAD * PITCH;
            wire signed [WIDTH-1:0] first = places[(AXES+3+a)*WIDTH+:WIDTH];
            wire signed [WIDTH-1:0] begun = first - PAD;
            wire signed [WIDTH-1:0] spread = begun + places[(1+a)*WIDTH+:WIDTH];
            wire [WIDTH-1:0] start, offset;  // what it adds to the first position, and to all
            if (UP == 1) begin : direct
                assign on_map[a+1] = on_map[a] && spread >= 0 && spread < INPUT;
                assign start = positions[(AXES+3+a)*WIDTH+:WIDTH] - PADDED;
                assign offset = start + positions[(1+a)*WIDTH+:WIDTH];
            end else begin : upsampled
                wire signed [WIDTH-1:0] place = spread / UP;
                assign on_map[a+1] = on_map[a] && spread >= 0 && spread % UP == 0 && place < INPUT;
                assign start = begun < 0 ? '0 : begun / UP * PITCH;
                assign offset = place * PITCH;
            end
            wire [WIDTH-1:0] lowest = release_of[a*WIDTH+:WIDTH];
            assign index_of[(a+1)*WIDTH+:WIDTH] = index_of[a*WIDTH+:WIDTH] + offset;
            assign release_of[(a+1)*WIDTH+:WIDTH] = a < AXES - FREES ? lowest : lowest + start;
        end
    endgenerate

    // Stage 1: which word is wanted.
    logic wanted, wanted_inside;
    logic signed [WIDTH-1:0] wanted_index;
    wire signed [WIDTH-1:0] ahead = written - wanted_index;
    wire issue = wanted && (!out_valid || out_ready) && (!wanted_inside || ahead > 0);
    localparam signed [WIDTH-1:0] SAMPLE = FRAME[WIDTH-1:0];

    assign step = !wanted || issue;

    always_ff @(posedge clk) begin
        if (rst) begin
            wanted <= 1'b0;
            frame <= '0;
            released <= '0;
        end else if (step) begin
            wanted <= 1'b1;
            if (wrap) frame <= frame + SAMPLE;
            released <= release_of[AXES*WIDTH+:WIDTH];  // all words of earlier pixels have been read
        end
        if (step) begin
            wanted_inside <= on_map[AXES];
            wanted_index <= index_of[AXES*WIDTH+:WIDTH];
        end
    end

    // Stage 2: the word.
    wire [WORD-1:0] read_data;

    ram #(
        .WIDTH(WORD),
        .BITS(RING)
    ) ring (
        .clk(clk),
        .write(put),
        .write_address(written[RING-1:0]),
        .write_data(word),
        .read(issue),
        .read_address(wanted_index[RING-1:0]),
        .read_data(read_data)
    );

    always_ff @(posedge clk)
        if (rst) out_valid <= 1'b0;
        else if (issue) begin
            out_valid <= 1'b1;
            out_inside <= wanted_inside;
        end else if (out_ready) out_valid <= 1'b0;

    assign out_data = out_inside ? read_data : '0;
endmodule
