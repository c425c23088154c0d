"""Figures of a run: accuracy, spike rates and synaptic operations (as NeuroBench defines them)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from spikec.ir import Graph, op_of
from spikec.ir.neuron import Neuron, Sign
from spikec.ir.op import Synapse
from spikec.ir.types import Array


def fan_outs(graph: Graph) -> dict[str, Array]:
    """For each synapse node, how many non-zero weights each input element meets (*input shape)."""
    fans = {}
    types = graph.by_name
    for node in graph.nodes:
        if op_of(node).weighted:
            shape = types[node.inputs[0]].type.shape
            fans[node.name] = op_of(node, Synapse).fan_out(shape, graph.array(node, "w"))
    return fans


def dense_operations(graph: Graph) -> int:
    """Multiply-accumulates per sample and step if every input were non-zero."""
    types, total = {node.name: node.type for node in graph.nodes}, 0
    for node in graph.nodes:
        if isinstance(node.operation, Synapse):
            params = {role: graph.params[name].type for role, name in node.params.items()}
            inputs = [types[name] for name in node.inputs]
            total += node.operation.synaptic_operations(inputs, params)
    return total


@dataclass(slots=True)
class Activity:
    """Events and operations of some samples by node, each summed by step (steps,).

    Attributes:
        spikes: Events of each neuron layer.
        operations: Pairs of an event and a non-zero weight that it meets, of each synapse.
        accumulates: Those among them whose event is 1 or -1.
    """

    spikes: dict[str, Array] = field(default_factory=dict)
    operations: dict[str, Array] = field(default_factory=dict)
    accumulates: dict[str, Array] = field(default_factory=dict)

    def add(self, more: Activity) -> None:
        """Add what other samples did."""
        for total, part in (
            (self.spikes, more.spikes),
            (self.operations, more.operations),
            (self.accumulates, more.accumulates),
        ):
            for name, sums in part.items():
                total[name] = total[name] + sums if name in total else sums


def activity(
    graph: Graph,
    events: Mapping[str, Array],
    fans: Mapping[str, Array],
    units: Mapping[str, Array] | None = None,
) -> Activity:
    """What a run's samples did.

    Args:
        graph: A spiking graph.
        events: Non-zero inputs per step and element, summed over samples (steps, *shape).
        fans: From `fan_outs`.
        units: Of graded spikes, the events with a payload of 1 or -1; none by default.
    """
    done, nodes = Activity(), graph.by_name
    read: dict[str, list[str]] = {}
    for name in fans:
        read.setdefault(nodes[name].inputs[0], []).append(name)
    for node in graph.nodes:  # one value after the other: an engine may hold them as bytes
        neuron = isinstance(node.operation, Neuron)
        if not neuron and node.name not in read:
            continue
        counts = events[node.name]
        if neuron:
            done.spikes[node.name] = counts.reshape(len(counts), -1).sum(axis=1)
        for name in read.get(node.name, ()):
            done.operations[name] = _met(counts, fans[name])
            done.accumulates[name] = done.operations[name] * node.type.dtype.is_spike
        if node.type.dtype.is_graded and node.name in read:
            ones = (units or {}).get(node.name)
            for name in read[node.name]:
                alone = 0 * done.operations[name] if ones is None else _met(ones, fans[name])
                done.accumulates[name] = alone
    return done


def _met(counts: Array, fans: Array) -> Array:
    """Weights that counted events (steps, *shape) meet in each step (steps,)."""
    return np.array([np.dot(step.reshape(-1), fans.reshape(-1)) for step in counts], np.int64)


def synaptic_operations(
    graph: Graph, done: Activity, steps: int, samples: int
) -> dict[str, dict[str, float]]:
    """Operations per synapse node and sample, summed over the first `steps` steps.

    An operation is effective when input and weight are non-zero: an accumulate (AC) where the
    input is a unit event, a multiply-accumulate (MAC) where it is an input code or a graded spike
    with a payload other than 1 and -1. `dense` counts all weights and inputs, zero or not, but
    no padding.

    Args:
        graph: A spiking graph.
        done: What the samples did.
        steps: Steps to count.
        samples: Samples that were summed over.
    """
    nodes, operations = graph.by_name, {}
    for node in graph.nodes:
        if not op_of(node).weighted:
            continue
        source = nodes[node.inputs[0]]
        effective, accumulates = (
            float(sums[node.name][:steps].sum()) / samples
            for sums in (done.operations, done.accumulates)
        )
        every = np.ones_like(graph.array(node, "w"))
        dense = op_of(node, Synapse).fan_out(source.type.shape, every).sum()
        operations[node.name] = {
            "effective_acs": accumulates,
            "effective_macs": effective - accumulates,
            "dense": float(dense * steps),
        }
    return operations


def spike_counts(
    graph: Graph, done: Activity, steps: int, samples: int
) -> dict[str, dict[str, float]]:
    """Per neuron layer: neurons, spikes and payload bits per sample, spikes per neuron and step.

    The payload bits of an event say its sign and which power of two it is: 0 for neurons that only
    send +1, 1 for signed ones, 1 + log2 N for N payloads; of integers they are their width.
    """
    counts = {}
    for node in graph.nodes:
        op = node.operation
        if isinstance(op, Neuron):
            spikes = float(done.spikes[node.name][:steps].sum()) / samples
            rate = spikes / (node.type.size * steps)
            counts[node.name] = {
                "neurons": node.type.size,
                "spikes": spikes,
                "rate": rate,
                "payload_bits": spikes * payload_bits(op, graph.steps),
            }
    return counts


def payload_bits(neuron: Neuron, steps: int) -> int:
    """Bits that each event of a neuron carries besides its address.

    Its sign, if events may be negative, and its power of 2 or its integer. In one step nothing is
    taken back, so that integers of such neurons need no sign.
    """
    if neuron.payload.kind == "spike":
        return neuron.payload.payload_bits - (neuron.sign is Sign.UNSIGNED)
    return neuron.payload.payload_bits - (neuron.sign is Sign.TAKES_BACK and steps == 1)


@dataclass(frozen=True, slots=True)
class Energy:
    """Energy of one operation, and who measured it."""

    picojoules: float
    source: str


_HOROWITZ = "M. Horowitz, Computing's energy problem, ISSCC 2014, 45 nm, 32-bit floating point"
ENERGY = {
    "accumulate": Energy(0.9, f"{_HOROWITZ}: addition"),
    "multiply-accumulate": Energy(4.6, f"{_HOROWITZ}: multiplication 3.7 pJ, addition 0.9 pJ"),
}
"""What this field's papers estimate with; integers on a chip take less."""


def energy(accumulates: float, multiplies: float) -> float:
    """Joules for so many accumulates and multiply-accumulates: arithmetic alone, an estimate."""
    once, product = ENERGY["accumulate"].picojoules, ENERGY["multiply-accumulate"].picojoules
    return 1e-12 * (accumulates * once + multiplies * product)
