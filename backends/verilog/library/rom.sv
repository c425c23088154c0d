// Constants from a file of hexadecimal words; what is read comes a cycle later.
module rom #(
    parameter integer WIDTH = 8,   // bits of a word
    parameter integer DEPTH = 16,  // words
    parameter integer BITS = 4,    // of an address
    parameter FILE = ""
) (
    input wire clk,
    input wire read,
    input wire [BITS-1:0] address,
    output logic [WIDTH-1:0] data
);
    logic [WIDTH-1:0] words[0:DEPTH-1];

    initial $readmemh(FILE, words);

    always_ff @(posedge clk) if (read) data <= words[address];
endmodule
