// Memory with one port to write and one to read; what is read comes a cycle later.
module ram #(
    parameter integer WIDTH = 8,   // bits of a word
    parameter integer BITS = 4     // of an address: 2^BITS words
) (
    input wire clk,
    input wire write,
    input wire [BITS-1:0] write_address,
    input wire [WIDTH-1:0] write_data,
    input wire read,
    input wire [BITS-1:0] read_address,
    output logic [WIDTH-1:0] read_data
);
    logic [WIDTH-1:0] words[0:(1<<BITS)-1];

    always_ff @(posedge clk) begin
        if (write) words[write_address] <= write_data;
        if (read) read_data <= words[read_address];
    end
endmodule
