"""IF takes no constant current: biases of neurons go into the layer before them."""

from __future__ import annotations

import numpy as np

from spikec.ir import Graph, Node, spread
from spikec.ir.ops.routing.add import Add
from spikec.ir.ops.synapses.affine import Affine
from spikec.ir.ops.synapses.conv import Conv
from spikec.ir.ops.synapses.dense import Dense
from spikec.ir.types import Array


def biases(graph: Graph) -> dict[str, Array]:
    """The constants (channels,) that convolutions and dense layers add, by their names."""
    nodes = [node for node in graph if isinstance(node.operation, Conv | Dense)]
    currents = {node.name: _own(graph, node) for node in nodes}
    for node in graph:
        carrier = carrier_of(graph, node)
        if carrier is not None:
            currents[carrier] = currents[carrier] + _per_channel(graph, node)
    return currents


def stranded(graph: Graph, node: Node) -> bool:
    """Whether a node adds a constant that no layer can carry."""
    if isinstance(node.operation, Affine):
        return "b" in node.params and bool(np.any(graph.array(node, "b")))
    return _biased(graph, node) and carrier_of(graph, node) is None


def carrier_of(graph: Graph, node: Node) -> str | None:
    """The layer that can add a neuron's bias: it feeds nothing else. None if there is none."""
    if not _biased(graph, node) or _per_channel(graph, node) is None:
        return None
    return _feeding(graph, node)


def _feeding(graph: Graph, reader: Node) -> str | None:
    nodes, readers = graph.by_name, graph.readers
    for name in reader.inputs:
        if len(readers[name]) > 1 or name in graph.outputs:
            continue
        source = nodes[name]
        if isinstance(source.operation, Conv | Dense):
            return name
        carrier = _feeding(graph, source) if isinstance(source.operation, Add) else None
        if carrier is not None:
            return carrier
    return None


def _biased(graph: Graph, node: Node) -> bool:
    return "bias" in node.params and bool(np.any(graph.array(node, "bias")))


def _per_channel(graph: Graph, node: Node) -> Array | None:
    """A neuron's bias as (channels,), or None where it differs within a channel."""
    shape = node.type.shape
    bias = spread(graph.array(node, "bias").astype(np.int64), shape)
    rows = np.broadcast_to(bias, shape).reshape(shape[0], -1)
    return rows[:, 0] if (rows == rows[:, :1]).all() else None


def _own(graph: Graph, node: Node) -> Array:
    if "b" in node.params:
        return graph.array(node, "b").astype(np.int64)
    return np.zeros(node.type.shape[0], np.int64)
