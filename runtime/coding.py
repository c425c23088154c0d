"""Input coding and readout: between real values and the integers of a spiking graph."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from spikec.ir import Graph, InvalidData, Node, op_of, spread
from spikec.ir.neuron import Membrane, total_weight
from spikec.ir.ops.input import Input
from spikec.ir.types import Array
from spikec.runtime.interpreter import Feeds

PART = 1 << 18
"""Elements that are coded at a time."""


@dataclass(frozen=True, slots=True)
class Encoded:
    """Integer inputs, and how many elements were outside the coded range and were clipped."""

    feeds: dict[str, Array]
    clipped: int
    total: int


def encode(graph: Graph, feeds: Feeds) -> Encoded:
    """Code real inputs as the unsigned integers that an integer graph takes.

    `u = round((x - offset) / scale)`, clipped to the input's width; clipped elements are counted so
    that callers can report them.

    Raises:
        InvalidData: for missing inputs or values that are not finite.
    """
    coded: dict[str, Array] = {}
    clipped = total = 0
    for node in graph.inputs:
        if node.name not in feeds:
            raise InvalidData(f"no data for input '{node.loc or node.name}'")
        x = np.asarray(feeds[node.name])
        if not np.isfinite(x).all():
            raise InvalidData(f"input '{node.loc or node.name}' holds NaN or infinite values")
        if graph.stage != "int":
            coded[node.name] = as_quantised(graph, node, x)
            continue
        low, high = node.type.dtype.bounds
        coded[node.name] = np.empty(x.shape, node.type.dtype.storage)
        total += x.size
        for part in _parts(x):
            u, _ = _units(graph, node, x[part])
            clipped += int(((u < low) | (u > high)).sum())
            coded[node.name][part] = np.clip(u, low, high)
    return Encoded(coded, clipped, total)


def _parts(x: Array) -> Iterator[slice]:
    """The samples in parts, as coding takes tens of bytes for each element."""
    size = max(1, PART // max(1, x[:1].size))
    for start in range(0, len(x), size):
        yield slice(start, start + size)


def as_quantised(graph: Graph, node: Node, x: Array) -> NDArray[np.float32]:
    """Real inputs as a model sees them that quantises them itself; others as they are."""
    levels = node.operation.levels if isinstance(node.operation, Input) else None
    if levels is None:
        return x.astype(np.float32)
    u, scale = _units(graph, node, x)
    offset = spread(graph.array(node, "offset"), node.type.shape)
    return (u.clip(0, levels) * scale + offset).astype(np.float32)


def _units(graph: Graph, node: Node, x: Array) -> tuple[Array, Array]:
    """Inputs in units of their code, not clipped, and the unit."""
    scale = spread(graph.array(node, "scale"), node.type.shape)
    offset = spread(graph.array(node, "offset"), node.type.shape)
    return np.rint((x.astype(np.float64) - offset) / scale), scale


def decode(graph: Graph, output: str, potential: Array, step: int) -> NDArray[np.float64]:
    """The network's real result after `step` steps: `potential * scale / step`.

    Of binary digits `potential * scale / (2^step - 1)`.

    Args:
        graph: A spiking graph.
        output: Name of a readout.
        potential: Its potential (batch, *shape) after `step` steps.
        step: Steps that were run, from 1.
    """
    node = graph[output]
    scale = graph.array(node, "scale") if "scale" in node.params else np.ones(())
    weight = total_weight(step, radix=op_of(node, Membrane).radix)
    return np.asarray(potential * spread(scale, node.type.shape) / weight, dtype=np.float64)
