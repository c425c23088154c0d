// Elements in other places: slices, transposes, gathers, pads, concatenations, repeats, reshapes.
// A table says for each element that leaves which source it comes from and where it stands there,
// or that it is 0. Tables repeat with a period in which each source moves on by its STEP.
// A source's ring holds its elements until none that leaves later is further back than its LAG.
module reorder #(
    parameter integer ELEMENT = 4,
    parameter integer SOURCES = 1,
    parameter integer SELECT = 1,     // bits of a source's number
    parameter integer RING = 4,       // each ring holds 2^RING elements
    parameter integer WIDTH = 8,      // bits of positions in a stream, signed
    parameter integer DEPTH = 4,      // entries of the table
    parameter integer ADDRESS = 2,    // bits of their address
    parameter integer PERIODS = 1,    // times that the table is read for a sample
    parameter [SOURCES*WIDTH-1:0] STEPS = 0,
    parameter [SOURCES*WIDTH-1:0] LAGS = 0,
    parameter [SOURCES*WIDTH-1:0] FRAMES = 4,  // elements of a sample
    parameter FILE = ""               // entries {is not 0, source, position}
) (
    input wire clk,
    input wire rst,
    input wire [SOURCES-1:0] in_valid,
    output wire [SOURCES-1:0] in_ready,
    input wire [SOURCES*ELEMENT-1:0] in_data,
    output logic out_valid,
    input wire out_ready,
    output logic [ELEMENT-1:0] out_data
);
    localparam integer ENTRY = 1 + SELECT + WIDTH;
    localparam integer TOP = DEPTH - 1;
    localparam integer PERIOD = PERIODS == 1 ? 1 : $clog2(PERIODS);
    localparam integer FINAL = PERIODS - 1;
    localparam signed [WIDTH-1:0] ROOM = 1 << RING;

    // The table: an entry waits until its element has come.
    logic [ADDRESS-1:0] address;
    logic [PERIOD-1:0] period;
    logic ready;                       // the entry has been read
    wire [ENTRY-1:0] entry;
    wire filled = entry[ENTRY-1];
    wire [SELECT-1:0] source = entry[WIDTH+:SELECT];
    wire signed [WIDTH-1:0] position = entry[WIDTH-1:0];
    wire [SOURCES-1:0] come;           // by source: the element has come
    wire present = come[source];
    wire leave = ready && (!out_valid || out_ready) && (!filled || present);
    wire turns = leave && address == TOP[ADDRESS-1:0];
    wire wraps = turns && period == FINAL[PERIOD-1:0];
    wire [ADDRESS-1:0] following = address == TOP[ADDRESS-1:0] ? '0 : address + 1'b1;

    rom #(
        .WIDTH(ENTRY),
        .DEPTH(DEPTH),
        .BITS(ADDRESS),
        .FILE(FILE)
    ) table_of (
        .clk(clk),
        .read(1'b1),
        .address(leave ? following : address),
        .data(entry)
    );

    always_ff @(posedge clk)
        if (rst) begin
            ready <= 1'b0;
            address <= '0;
            period <= '0;
        end else begin
            ready <= 1'b1;
            if (leave) address <= following;
            if (turns) period <= wraps ? '0 : period + 1'b1;
        end

    // The sources.
    wire [SOURCES*ELEMENT-1:0] read_data;
    genvar s;
    generate
        for (s = 0; s < SOURCES; s = s + 1) begin : from
            localparam signed [WIDTH-1:0] STEP = STEPS[s*WIDTH+:WIDTH];
            localparam signed [WIDTH-1:0] LAG = LAGS[s*WIDTH+:WIDTH];
            localparam signed [WIDTH-1:0] FRAME = FRAMES[s*WIDTH+:WIDTH];
            logic signed [WIDTH-1:0] written;  // positions over all samples, modulo 2^WIDTH
            logic signed [WIDTH-1:0] base;     // what positions of this period are added to
            logic signed [WIDTH-1:0] frame;    // where the sample begins
            logic signed [WIDTH-1:0] furthest; // the furthest position that was asked for
            wire signed [WIDTH-1:0] index = base + position;
            wire signed [WIDTH-1:0] ahead = written - index;
            wire signed [WIDTH-1:0] held = written - furthest + LAG;
            wire signed [WIDTH-1:0] further = index - furthest;
            wire mine = ready && filled && source == s;
            wire put = in_valid[s] && in_ready[s];

            assign come[s] = ahead > 0;
            assign in_ready[s] = held < ROOM;

            always_ff @(posedge clk)
                if (rst) begin
                    written <= '0;
                    base <= '0;
                    frame <= '0;
                    furthest <= '0;
                end else begin
                    if (put) written <= written + 1'b1;
                    if (wraps) begin
                        base <= frame + FRAME;
                        frame <= frame + FRAME;
                        furthest <= frame + FRAME;
                    end else begin
                        if (turns) base <= base + STEP;
                        if (mine && further > 0) furthest <= index;
                    end
                end

            ram #(
                .WIDTH(ELEMENT),
                .BITS(RING)
            ) ring (
                .clk(clk),
                .write(put),
                .write_address(written[RING-1:0]),
                .write_data(in_data[s*ELEMENT+:ELEMENT]),
                .read(leave),
                .read_address(index[RING-1:0]),
                .read_data(read_data[s*ELEMENT+:ELEMENT])
            );
        end
    endgenerate

    logic out_filled;
    /* verilator lint_off UNUSEDSIGNAL */  // where there is one source
    logic [SELECT-1:0] out_source;
    /* verilator lint_on UNUSEDSIGNAL */
    wire [ELEMENT-1:0] picked;

    generate
        if (SOURCES == 1) begin : one
            assign picked = read_data;
        end else begin : several
            wire [SOURCES*ELEMENT-1:0] shifted = read_data >> (out_source * ELEMENT);
            assign picked = shifted[ELEMENT-1:0];
        end
    endgenerate
    assign out_data = out_filled ? picked : '0;

    always_ff @(posedge clk)
        if (rst) out_valid <= 1'b0;
        else if (leave) begin
            out_valid <= 1'b1;
            out_filled <= filled;
            out_source <= source;
        end else if (out_ready) out_valid <= 1'b0;
endmodule
