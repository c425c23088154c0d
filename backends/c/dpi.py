"""The network as a golden model in SystemVerilog: a DPI-C wrapper and its package."""

from __future__ import annotations

from collections.abc import Iterator

from spikec.backends.c.header import Port, ports
from spikec.backends.c.layout import SpikeLayout
from spikec.backends.c.network import Network
from spikec.backends.c.tables import print_array
from spikec.backends.c.writer import Code
from spikec.backends.lowering.records import Accumulate, Layer, Pool, Spikes, Stage, Store

_SV_TYPES = {8: "byte", 16: "shortint", 32: "int", 64: "longint"}
_BODY = """
/* Runs a sample with all spikes and potentials kept; returns as network_run does. */
int network_dpi_run(@PARAMETERS@)
{
    for (int i = 0; i < LAYERS; ++i) {
        network_potentials[layers[i].stage] = layers[i].potentials;
        network_spikes[layers[i].stage] = layers[i].spikes;
    }
    return network_run(@ARGUMENTS@);
}

static const layer_t *layer_of(int stage)
{
    for (int i = 0; i < LAYERS; ++i)
        if (layers[i].stage == stage)
            return &layers[i];
    return NULL;
}

/* The payload that an element (row-major, channels first) sent in a step, from 0. */
int network_dpi_spike(int stage, int step, int element)
{
    const layer_t *const l = layer_of(stage);
    const int channel = element / (l->rows * l->width), place = element % (l->rows * l->width);
    const int bit = place % l->width * l->channels + channel;
    int total = 0;
    for (int plane = 0; plane < l->used; ++plane) {
        const int string = (place / l->width * l->planes + plane) * NETWORK_STEPS + step;
        const uint8_t *const bits = l->spikes + string * l->bytes;
        total += l->payloads[plane] * (bits[bit / 8] >> (bit % 8) & 1);
    }
    return total;
}

/* The potential of an element after the reset of a step, from 0. */
int64_t network_dpi_potential(int stage, int step, int element)
{
    const layer_t *const l = layer_of(stage);
    const int places = l->rows * l->width;
    const int neuron = element % places * l->channels + element / places;
    return l->potentials[step * places * l->channels + neuron];
}
"""


def _layers(network: Network) -> Iterator[Stage]:
    """The stages that have potentials."""
    for stage in network.plan.stages:
        if isinstance(stage, Pool) or (
            isinstance(stage, Layer) and not isinstance(stage.rule, Store)
        ):
            yield stage


def print_wrapper(network: Network) -> str:
    """network_dpi.c."""
    code, rows, plan = Code(), [], network.plan
    code.comment(
        "A golden model for SystemVerilog: compile it with network.c (-DNETWORK_TRACE) and",
        "weights.c, import network_dpi.sv. Written by spikec.",
    )
    for header in ("<stddef.h>", "<stdint.h>"):
        code.line(f"#include {header}")
    code.line()
    code.line('#include "network.h"')
    code.line()
    code.line(f"extern int64_t *network_potentials[{len(plan.stages) + 1}];")
    code.line(f"extern uint8_t *network_spikes[{len(plan.stages) + 1}];")
    code.line()
    code.line("typedef struct {")
    code.line("    int stage, channels, rows, width, planes, used, bytes;")
    code.line("    const int16_t *payloads;")
    code.line("    int64_t *potentials;")
    code.line("    uint8_t *spikes;")
    code.line("} layer_t;")
    code.line()
    for stage in _layers(network):
        name, result = network.names[stage.result.name], stage.result
        code.line(f"static int64_t {name}_potentials[{plan.steps * result.size}];")
        layout, number = network.layout(result), network.number(stage)
        if isinstance(layout, SpikeLayout) and isinstance(result.coding, Spikes):
            payloads = [str(p) for p in result.coding.payloads]
            print_array(code, f"static const int16_t {name}_payloads[]", payloads)
            code.line(f"static uint8_t {name}_spikes[{layout.size}];")
            shape = f"{layout.channels}, {layout.rows}, {layout.width}, {layout.planes}"
            row = f"{len(payloads)}, {layout.row_bytes}, {name}_payloads"
            rows.append(f"{{{number}, {shape}, {row}, {name}_potentials, {name}_spikes}},")
        else:
            shape = f"{result.channels}, 1, {result.positions}, 0, 0, 0, NULL"
            rows.append(f"{{{number}, {shape}, {name}_potentials, NULL}},")
    code.line()
    code.line(f"#define LAYERS {len(rows)}")
    with code.block("static const layer_t layers[LAYERS] =", "};"):
        for row in rows:
            code.line(row)
    given = [f"{'const ' if p.given else ''}{p.type} *{p.name}" for p in ports(network)]
    code.line()
    code.line("#ifdef __cplusplus /* Verilator compiles it as C++ */")
    code.line('extern "C" {')
    code.line("#endif")
    body = _BODY.replace("@PARAMETERS@", ", ".join(given))
    code.lines(body.replace("@ARGUMENTS@", ", ".join(p.name for p in ports(network))))
    code.line()
    code.line("#ifdef __cplusplus")
    code.line("}")
    code.line("#endif")
    return code.text()


def print_package(network: Network) -> str:
    """network_dpi.sv."""
    code, plan = Code(), network.plan
    code.line("// The network as a golden model; network_dpi.c beside it says what functions do.")
    code.line("package network_dpi;")
    code.line(f"    localparam int STEPS = {plan.steps};")
    for port in ports(network):
        code.line(f"    localparam int SIZE_{port.name} = {port.size(plan.steps)};")
    code.line("    // Numbers of stages with potentials, and how many elements each has.")
    for stage in _layers(network):
        name = network.names[stage.result.name]
        spiking = "" if not _reads_out(stage) else "  // a readout: no spikes"
        code.line(f"    localparam int STAGE_{name} = {network.number(stage)};{spiking}")
        code.line(f"    localparam int NEURONS_{name} = {stage.result.size};")
    given = ", ".join(_argument(port, plan.steps) for port in ports(network))
    code.line(f'    import "DPI-C" function int network_dpi_run({given});')
    element = "input int stage, input int step, input int element"
    code.line(f'    import "DPI-C" function int network_dpi_spike({element});')
    code.line(f'    import "DPI-C" function longint network_dpi_potential({element});')
    code.line("endpackage")
    return code.text()


def _reads_out(stage: Stage) -> bool:
    return isinstance(stage, Layer) and isinstance(stage.rule, Accumulate)


def _argument(port: Port, steps: int) -> str:
    kind = _SV_TYPES[port.type.bits] + ("" if port.type.signed else " unsigned")
    direction = "input" if port.given else "output"
    return f"{direction} {kind} {port.name}[0:{port.size(steps) - 1}]"
