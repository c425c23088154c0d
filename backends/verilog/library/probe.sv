// Simulation only: writes COUNT pairs of words, one pair a line, whenever they are valid.
module probe #(
    parameter FILE = "",
    parameter integer COUNT = 1,
    parameter integer LOWER = 1,
    parameter integer UPPER = 1
) (
    input wire clk,
    input wire valid,
    input wire [COUNT*LOWER-1:0] lower,
    input wire [COUNT*UPPER-1:0] upper
);
    integer file, i;

    initial if (FILE != "") file = $fopen(FILE, "w");

    always @(posedge clk)
        if (valid && FILE != "")
            for (i = 0; i < COUNT; i = i + 1)
                $fdisplay(file, "%h %h", lower[i*LOWER+:LOWER], upper[i*UPPER+:UPPER]);
endmodule
