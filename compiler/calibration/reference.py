"""What calibration compares a spiking network with: its samples, and the ANN's values on them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from spikec.compiler.passes import Context, Record
from spikec.ir import Graph, PassError, op_of
from spikec.ir.neuron import Membrane
from spikec.ir.ops.input import Input
from spikec.ir.types import Array
from spikec.runtime.interpreter import evaluate

STORED_BYTES = 1 << 30
"""Room for the spikes of all calibration samples that later layers still read."""
FEW = 8
"""Calibration samples that are used whatever they take."""


def kept_samples(
    graph: Graph, released: Mapping[str, Sequence[str]], context: Context, record: Record
) -> dict[str, Array]:
    """The calibration inputs, fewer where their spikes would not fit memory; told to a record.

    Raises:
        PassError: without data, or without the ANN that the graph came from.
    """
    calib = context.data(record.name)
    if "ann" not in context.last:
        raise PassError(f"pass {record.name} needs the ANN that the graph came from")
    given = len(next(iter(calib.values())))
    samples = min(given, max(FEW, STORED_BYTES // _stored_bytes(graph, released, context.steps)))
    if samples < given:
        record.note(
            f"used {samples} of {given} calibration samples, so that their spikes fit "
            f"{STORED_BYTES >> 20:,} MB"
        )
    return {name: x[:samples] for name, x in calib.items()}


def _stored_bytes(graph: Graph, released: Mapping[str, Sequence[str]], steps: int) -> int:
    """Bytes that the spikes of one sample take at most while a sweep passes, and its inputs."""
    stored, most = {}, 1
    for node in graph.nodes:
        if isinstance(node.operation, Input):
            stored[node.name] = 4 * node.type.size * (steps if node.operation.timed else 1)
        elif op_of(node).stateful and node.name not in graph.outputs:
            stored[node.name] = steps * node.type.size
        most = max(most, sum(stored.values()))
        for name in released.get(node.name, ()):
            stored.pop(name, None)
    return most


def reference(
    ann: Graph, snn: Graph, calib: Any, counterparts: Mapping[str, str]
) -> Iterator[tuple[Array, Array]]:
    """Each layer's input and value in the ANN, in the order of the spiking graph's layers.

    A neuron stands for an activation, whose input is its own; a readout for a value of which
    nothing is before it.
    """
    sources = {}
    for node in snn.nodes:
        if not isinstance(node.operation, Membrane):
            continue
        if node.name not in counterparts:
            raise PassError(
                f"nothing says what %{node.name} stands for in the ANN",
                loc=node.loc,
                hint="run qcfs in the same pipeline",
            )
        stood_for = counterparts[node.name]
        before = stood_for if node.name in snn.outputs else ann[stood_for].inputs[0]
        sources[node.name] = before, stood_for
    order = list(sources)
    last = {value: name for name in order for value in sources[name]}
    held: dict[str, Array] = {}
    evaluated = evaluate(ann, calib)
    for name in order:
        before, target = sources[name]
        while target not in held:
            node, value = next(evaluated)
            if node.name in last:
                held[node.name] = value
        yield held[before], held[target]
        for done in {before, target}:
            if last[done] == name:
                del held[done]
