"""Prints the testbench: it streams samples through the network and compares with golden traces."""

from __future__ import annotations

from spikec.backends.verilog.design import Design
from spikec.backends.verilog.parameters import data_bits
from spikec.backends.verilog.writer import instance
from spikec.ir import Graph
from spikec.runtime.interpreter import state_type

_HEAD = """\
// Streams the samples of golden traces through the network and compares what leaves it with them:
//   spikec trace OUT --data test.npz --limit 3 --format hex -o hex
// +traces=FOLDER names another folder than hex, +stalls makes both sides pause at random,
// +limit=CYCLES ends a run that makes no progress, +drain=CYCLES goes on after the last result.
// Results are written to NAME.out.
`timescale 1ns / 1ps
module testbench;
    logic clk = 1'b0, rst = 1'b1, stalls;
    logic [1023:0] folder;
    integer cycle = 0, limit, drain, first_end = 0, last_end = 0, ended = 0, stuck = 0;
    wire frame_error, overflow;

    always #5 clk = !clk;

`ifdef SPIKEC_WAVES
    initial begin
        $dumpfile("waves.vcd");
        $dumpvars(`SPIKEC_WAVES, testbench);
    end
`endif
"""
_TAIL = """
    wire all_done = @ENDED@ && ended >= @SENT@ && cycle > 8;

    always @(posedge clk) begin
        cycle <= cycle + 1;
        if (cycle == 5) rst <= 1'b0;
        if (frame_error) begin
            $display("the network saw TLAST at another place");
            $fatal;
        end
        if (overflow) begin
            $display("overflow: a number left its width");
            $finish;
        end
        if (@LEAST@ > ended && !all_done) begin
            if (ended == 0) first_end = cycle;
            last_end = cycle;
            ended = ended + 1;
            stuck = 0;
        end else stuck = stuck + 1;
        if (stuck > limit && !all_done) begin
            $display("no sample for %0d cycles, %0d done", limit, ended);
            $fatal;
        end
        if (all_done && stuck >= drain) begin
            $display("%0d of %0d outputs differ", @DIFFERING@, @COMPARED@);
            $display("%0d samples, latency %0d cycles, interval %0d cycles", ended, first_end - 6,
                     ended > 1 ? (last_end - first_end) / (ended - 1) : 0);
            $finish;
        end
    end
endmodule
"""


def print_testbench(design: Design, graph: Graph) -> str:
    """testbench.sv."""
    plan, parts = design.plan, [_HEAD]
    values = {stage.result.name: stage.result for stage in plan.stages}
    ports = {"clk": "clk", "rst": "rst", "frame_error": "frame_error", "overflow": "overflow"}
    paths = []
    for value in plan.inputs:
        name, stream = design.names[value.name], design.stream(value)
        bits = data_bits(stream.element)
        parts.append(_bus("s", name, bits, 0))
        parts.append(f"    logic [4095:0] path_{name};\n    integer sent_{name};\n")
        parts.append(f"    wire ended_{name};\n")
        paths.append(f'        $sformat(path_{name}, "%0s/{value.name}.hex", folder);\n')
        parameters = {
            "STEPS": stream.steps,
            "BITS": stream.bits,
            "TDATA": bits,
            "CHANNELS": value.channels,
            "PLACES": value.positions,
        }
        inner = {"clk": "clk", "rst": "rst", "stalls": "stalls", "path": f"path_{name}"}
        for part in ("tvalid", "tready", "tdata", "tlast"):
            inner[f"m_axis_{part}"] = f"s_{name}_{part}"
            ports[f"s_axis_{name}_{part}"] = f"s_{name}_{part}"
        inner |= {"samples": f"sent_{name}", "ended": f"ended_{name}"}
        parts.append(instance("stimulus", f"stimulus_{name}", parameters, inner))
    for output in plan.outputs:
        name, value = design.names[output], values[output]
        stream = design.stream(value)
        bits = data_bits(stream.bits)
        user = max(1, (value.size - 1).bit_length())
        parts.append(_bus("m", name, bits, user))
        parts.append(f"    logic [4095:0] path_{name}, out_{name};\n")
        parts.append(f"    integer got_{name}, compared_{name}, differing_{name};\n")
        paths.append(f'        $sformat(path_{name}, "%0s/{output}.potentials.hex", folder);\n')
        paths.append(f'        $sformat(out_{name}, "{name}.out");\n')
        golden = state_type(graph, graph[output]).bits
        parameters = {
            "STEPS": stream.steps,
            "TDATA": bits,
            "WORD": min(bits, golden),
            "TUSER": user,
            "CHANNELS": value.channels,
            "PLACES": value.positions,
        }
        inner = {"clk": "clk", "rst": "rst", "stalls": "stalls", "path": f"path_{name}"}
        inner["written"] = f"out_{name}"
        for part in ("tvalid", "tready", "tdata", "tlast", "tuser"):
            inner[f"s_axis_{part}"] = f"m_{name}_{part}"
            ports[f"m_axis_{name}_{part}"] = f"m_{name}_{part}"
        inner |= {
            "samples": f"got_{name}",
            "compared": f"compared_{name}",
            "differing": f"differing_{name}",
        }
        parts.append(instance("scoreboard", f"scoreboard_{name}", parameters, inner))
    listed = "\n".join(f"        .{key}({value})," for key, value in ports.items()).rstrip(",")
    parts.append(f"    network dut (\n{listed}\n    );\n")
    stuck = 4 * (design.timing.latency + design.timing.interval) + 2000
    parts.append(
        "    initial begin\n"
        '        stalls = $test$plusargs("stalls");\n'
        # Pixels that no output needs are still computed: their probes are waited for.
        '        if (!$value$plusargs("drain=%d", drain)) drain = 0;\n'
        '        if (!$value$plusargs("traces=%s", folder)) folder = "hex";\n'
        f'        if (!$value$plusargs("limit=%d", limit)) limit = {stuck};\n'
        + "".join(paths)
        + "    end\n"
    )
    inputs = [design.names[value.name] for value in plan.inputs]
    outputs = [design.names[name] for name in plan.outputs]
    least = f"got_{outputs[0]}"
    for name in outputs[1:]:
        least = f"(got_{name} < {least} ? got_{name} : {least})"
    tail = _TAIL.replace("@LEAST@", least)
    tail = tail.replace("@ENDED@", " && ".join(f"ended_{name}" for name in inputs))
    tail = tail.replace("@SENT@", f"sent_{inputs[0]}")
    tail = tail.replace("@DIFFERING@", " + ".join(f"differing_{name}" for name in outputs))
    tail = tail.replace("@COMPARED@", " + ".join(f"compared_{name}" for name in outputs))
    return "\n".join(parts) + tail


def _bus(side: str, name: str, bits: int, user: int) -> str:
    lines = f"    wire {side}_{name}_tvalid, {side}_{name}_tready, {side}_{name}_tlast;\n"
    lines += f"    wire [{bits - 1}:0] {side}_{name}_tdata;\n"
    return lines + (f"    wire [{user - 1}:0] {side}_{name}_tuser;\n" if user else "")
