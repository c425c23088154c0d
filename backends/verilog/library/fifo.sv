// Two places between a sender and a receiver, so that neither's signals reach through to the other.
// Passes a word in each cycle; `in_ready` depends on registers alone.
module fifo #(
    parameter integer WIDTH = 8
) (
    input wire clk,
    input wire rst,
    input wire in_valid,
    output wire in_ready,
    input wire [WIDTH-1:0] in_data,
    output wire out_valid,
    input wire out_ready,
    output wire [WIDTH-1:0] out_data
);
    logic [1:0] count;             // words held: 0 to 2
    logic [WIDTH-1:0] head, next;  // the word that leaves first, and the one behind it

    wire put = in_valid && in_ready;
    wire take = out_valid && out_ready;

    assign in_ready = count != 2'd2;
    assign out_valid = count != 2'd0;
    assign out_data = head;

    always_ff @(posedge clk) begin
        if (rst) count <= 2'd0;
        else count <= count + {1'b0, put} - {1'b0, take};
        if (take && count == 2'd2) head <= next;
        else if (put && (count == 2'd0 || take)) head <= in_data;
        if (put) next <= in_data;
    end

`ifdef FORMAL
    // Words leave in the order in which they came, none is lost: against a list that shifts.
    logic [1:0] listed;
    logic [WIDTH-1:0] oldest, newest;

    always @(posedge clk) begin
        if (rst) listed <= 2'd0;
        else listed <= listed + {1'b0, put} - {1'b0, take};
        if (take && put) oldest <= listed == 2'd2 ? newest : in_data;
        else if (take) oldest <= newest;
        else if (put && listed == 2'd0) oldest <= in_data;
        if (put) newest <= in_data;
    end
    always @* begin
        assert (rst || listed <= 2'd2);
        assert (rst || count == listed);
        assert (rst || out_valid == (listed != 2'd0));
        assert (rst || in_ready == (listed != 2'd2));
        assert (rst || listed == 2'd0 || out_data == oldest);
        assert (rst || listed != 2'd2 || next == newest);
    end
`endif
endmodule
