"""Figures of an emitted network: memory, constants and work."""

from __future__ import annotations

import math
from collections.abc import Iterator

from spikec.backends.c.layers import lanes_of
from spikec.backends.c.layout import BYTE, SpikeLayout, ctype
from spikec.backends.c.network import LONGEST, Network
from spikec.backends.c.terms import AHEAD
from spikec.backends.lowering.records import Axis, Layer, Spikes, Store, Term

RATE = 0.2
"""Spikes of a neuron and step in estimates; measured in ResNet-20: 0.16 to 0.27."""
PER_ADDITION, PER_NEURON = 5.5, 79
"""Instructions on a Cortex-M4 of an addition, and of a neuron in a step.

Least squares over samples of an MLP, a small CNN and ResNet-20 (T = 8, one lane, gcc 12 -O2), whose
instructions qemu counted (`benchmarks/c_target.py`); the six are met within 8 %.
"""


def memory_lines(network: Network) -> Iterator[str]:
    """One line for each value in shared memory."""
    for name, size, first, last in _values(network):
        yield f"{name:32} {size:8} {first:4} to {last}"


def _values(network: Network) -> Iterator[tuple[str, int, int, int]]:
    memory = network.memory
    for stage in network.plan.stages:
        name = stage.result.name
        if name in memory.offsets:
            layout, life = memory.layouts[name], memory.lives[name]
            width = 1 if isinstance(layout, SpikeLayout) else layout.type.size
            yield network.place(name), layout.size * width, life.first + 1, life.last + 1


def constant_bytes(network: Network) -> int:
    """Bytes of weights.c."""
    return sum(c.type.size * len(c.values) for c in network.constants.values())


def stack_bytes(network: Network) -> int:
    """Bytes of the local arrays of the layer that has most."""
    return max(
        (_locals(network, s) for s in network.plan.stages if isinstance(s, Layer)), default=0
    )


def _locals(network: Network, layer: Layer) -> int:
    lanes, steps = lanes_of(network, layer), network.schedule.plan.steps
    kept = lanes.stretch.places * lanes.block * steps if lanes.stretch else 0
    total = ctype(layer.sum, 16).size * (kept + lanes.count * (steps + 2))
    layout = network.layout(layer.result)
    fired = layout.planes * lanes.count if isinstance(layout, SpikeLayout) else 0
    codings = [term.source.coding for term in layer.terms]
    planes = max((len(c.payloads) for c in codings if isinstance(c, Spikes)), default=0)
    bits = BYTE.size * lanes.count + planes * AHEAD * LONGEST // 8
    return total + 2 * ctype(layer.state, 16).size * lanes.count + fired + bits


def state_bytes(network: Network) -> int:
    """Bytes that are kept from step to step."""
    return sum(type_.size * count for type_, count in network.states.values())


def additions(term: Term) -> int:
    """Additions of a weight in one step if every input fired: taps inside the image alone."""
    taps = math.prod(_inside(axis) for axis in term.axes)
    return taps * term.outputs * term.inputs


def _inside(axis: Axis) -> int:
    """Pairs of a result and a tap that lies inside."""
    reads = (
        axis.stride * out + axis.dilation * tap - axis.pad
        for out in range(axis.outputs)
        for tap in range(axis.taps)
    )
    return sum(read % axis.up == 0 and 0 <= read // axis.up < axis.inputs for read in reads)


def readme(text: str, whole: Network, stepwise: Network) -> str:
    """The README with its tables."""
    plan = whole.plan
    rows, scans, instructions = [], 0, 0.0
    for stage in plan.stages:
        if not isinstance(stage, Layer):
            continue
        work = sum(additions(t) * (plan.steps if t.source.timed else 1) for t in stage.terms)
        shape = " x ".join(map(str, stage.result.shape))
        kind = "current" if isinstance(stage.rule, Store) else type(stage.rule).__name__
        scans += stage.result.size * plan.steps
        instructions += RATE * PER_ADDITION * work + PER_NEURON * stage.result.size * plan.steps
        rows.append(
            f"| {stage.result.name} | {shape} | {kind} | {stage.sum.low} to {stage.sum.high} "
            f"| {stage.state.low} to {stage.state.high} | {work} |"
        )
    figures = [
        f"| constants (flash) | {constant_bytes(whole)} |",
        f"| shared memory of `network_run` | {whole.memory.bytes} |",
        f"| stack of `network_run` | {stack_bytes(whole)} |",
        f"| shared memory and state of `network_step` | "
        f"{stepwise.memory.bytes + state_bytes(stepwise)} |",
    ]
    values = ["| value | bytes | stages |", "|---|---|---|"]
    values += [f"| {n} | {size} | {first} to {last} |" for n, size, first, last in _values(whole)]
    return (
        text.replace("@NAME@", plan.name)
        .replace("@STEPS@", str(plan.steps))
        .replace("@SOURCE@", f" from {plan.source}" if plan.source else "")
        .replace("@FIGURES@", "\n".join(figures))
        .replace("@MEMORY@", "\n".join(values))
        .replace("@LAYERS@", "\n".join(rows))
        .replace("@SCANS@", str(scans))
        .replace("@INSTRUCTIONS@", f"{instructions / 1e6:.3g} million")
    )
