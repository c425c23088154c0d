"""Codes of inputs: their channels, and quantisers that are such a code themselves."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spikec.ir import Graph, Node, op_of, spread
from spikec.ir.activation import Activation
from spikec.ir.ops.activations.pointwise import Pointwise
from spikec.ir.ops.activations.qcfs import Qcfs
from spikec.ir.ops.activations.quantize import Quantize
from spikec.ir.ops.synapses.affine import Affine
from spikec.ir.windows import Pooling, Sliding

Array = NDArray[Any]
_ELEMENTWISE = (Affine, Activation, Pointwise)
_CHANNELS_FIRST = (Sliding, Pooling)


def input_channels(graph: Graph, node: Node) -> Array:
    """The channel of each element of an input (*shape).

    An image may arrive flat or with its channels last; a convolution behind reshapes and
    transposes tells its channels. Without one they are those of the input's first axis.
    """
    shape = node.type.shape
    own = np.broadcast_to(spread(np.arange(shape[0]) if shape else np.zeros(1), shape), shape)
    elements = np.arange(node.type.size, dtype=np.float64).reshape(shape)
    seen: dict[str, Array] = {node.name: elements}
    found: list[Array] = []
    for reader in graph.nodes:
        if not reader.inputs or reader.inputs[0] not in seen:
            continue
        value = seen[reader.inputs[0]]
        if isinstance(reader.operation, _CHANNELS_FIRST):
            found.append(_labels(value, shape))
        elif isinstance(reader.operation, _ELEMENTWISE):
            seen[reader.name] = value
        elif op_of(reader).result == "same" and len(reader.inputs) == 1:
            seen[reader.name] = op_of(reader).run([value[None]], {})[0]
    agreed = [labels for labels in found if np.array_equal(labels, found[0])]
    usable = found and len(agreed) == len(found) and (found[0] >= 0).all()
    return found[0] if usable else own.astype(np.int64)


def _labels(value: Array, shape: tuple[int, ...]) -> Array:
    """For each element of the input its first axis in a value that holds their numbers."""
    labels = np.full(shape, -1, np.int64)
    channels = np.broadcast_to(spread(np.arange(len(value)), value.shape), value.shape)
    labels.reshape(-1)[value.astype(np.int64).reshape(-1)] = channels.reshape(-1)
    return labels


def channel_ranges(x: Array, channels: Array) -> tuple[Array, Array]:
    """Smallest and largest value of each element's channel, as a param of the input is shaped.

    Args:
        x: Inputs (samples, *shape).
        channels: The channel of each element (*shape).
    """
    flat = channels.reshape(-1)
    low, high = np.full(flat.max() + 1, np.inf), np.full(flat.max() + 1, -np.inf)
    np.minimum.at(low, flat, x.min(axis=0).reshape(-1))
    np.maximum.at(high, flat, x.max(axis=0).reshape(-1))
    return _compact(low[channels]), _compact(high[channels])


def _compact(values: Array) -> Array:
    """Values per element (*shape), with size 1 on the axes along which they do not differ."""
    for axis in range(values.ndim):
        first = values.take([0], axis=axis)
        values = first if (values == first).all() else values
    if values.size == 1:
        return values.reshape(())
    return values.reshape(-1) if values.size == len(values) else values


@dataclass(frozen=True, slots=True)
class Code:
    """The real values that an input takes: offset + scale u for u from 0 to levels."""

    scale: float
    offset: float
    levels: int


def without_input_quantisers(graph: Graph, bits: int) -> tuple[Graph, dict[str, Code]]:
    """The graph without quantisers that all inputs of a network pass first, and their codes.

    A quantiser of an input with as many values as the input's code has is that code, so no neuron
    needs to compute it.
    """
    codes: dict[str, Code] = {}
    gone: dict[str, str] = {}
    for node in graph.inputs:
        first = _only_reader(graph, node)
        code = None if first is None else _code_of(graph, first, bits)
        if first is not None and code is not None:
            codes[node.name], gone[first.name] = code, first.inputs[0]
    nodes = [
        replace(node, inputs=tuple(gone.get(name, name) for name in node.inputs))
        for node in graph.nodes
        if node.name not in gone
    ]
    return (graph.with_nodes(nodes) if gone else graph), codes


def _only_reader(graph: Graph, node: Node) -> Node | None:
    """What alone reads an input, past reshapes and the like; None where that is an output."""
    readers = graph.readers
    while len(readers[node.name]) == 1 and node.name not in graph.outputs:
        (node,) = readers[node.name]
        if op_of(node).result != "same" or len(node.inputs) != 1:
            return None if node.name in graph.outputs else node
    return None


def _code_of(graph: Graph, node: Node, bits: int) -> Code | None:
    op, top = node.operation, (1 << bits) - 1
    if isinstance(op, Quantize) and op.hi - op.lo == top:
        scale = graph.array(node, "scale").astype(np.float64)
        return None if scale.ndim else Code(float(scale), float(op.lo * scale), top)
    if isinstance(op, Qcfs) and op.levels == top and op.shift == 0.5:
        largest = graph.array(node, "lambda").astype(np.float64)
        return None if largest.ndim else Code(float(largest) / top, 0.0, top)
    return None
