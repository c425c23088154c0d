"""The constant part of the currents: what flows when nothing fires."""

from __future__ import annotations

import numpy as np

from spikec.ir import Graph, op_of, spread
from spikec.ir.ops.input import Input
from spikec.ir.types import Array


def constant_currents(graph: Graph, offsets: bool = False) -> dict[str, Array]:
    """Every linear value when all activations and spikes are 0.

    Args:
        graph: At stage ann or snn.
        offsets: Feed each input its code's offset instead of 0.

    Returns:
        Node name to array (*shape), float64. Inputs stand at 0 (or their offset).
    """
    currents: dict[str, Array] = {}
    for node in graph.nodes:
        op = op_of(node)
        if op.linear:
            params = {role: graph.array(node, role).astype(np.float64) for role in node.params}
            currents[node.name] = op.run([currents[i][None] for i in node.inputs], params)[0]
        else:
            currents[node.name] = np.zeros(node.type.shape)
            if isinstance(node.operation, Input) and offsets and "offset" in node.params:
                offset = graph.array(node, "offset")
                currents[node.name] = currents[node.name] + spread(offset, node.type.shape)
    return currents


def channelwise(array: Array) -> Array:
    """A per-neuron array as (channels,) where each channel holds one value, else unchanged."""
    if array.ndim <= 1:
        return array
    flat = array.reshape(len(array), -1)
    return flat[:, 0].copy() if (flat == flat[:, :1]).all() else array
