"""Worst-case bounds of currents and potentials over all inputs, by interval arithmetic."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spikec.ir import Node, op_of, spread
from spikec.ir.neuron import Neuron, Sign

Array = NDArray[Any]
Interval = tuple[Array, Array]


def intervals(nodes: Sequence[Node], weights: Mapping[str, Array]) -> dict[str, Interval]:
    """Bounds of each value's mean over the first t steps, for every t and every input.

    A spiking neuron's net count after t steps is between 0 and t (-t and t if free), so its mean
    is between 0 and 1 (-1 and 1) whatever it receives; with payloads, between 0 and the largest.

    Args:
        nodes: An integer graph's nodes in topological order.
        weights: Real or integer weights of the synapses among them.

    Returns:
        Node name to (low, high), each (*shape).
    """
    found: dict[str, Interval] = {}
    for node in nodes:
        op = op_of(node)
        if node.op == "input":
            lowest, highest = node.type.dtype.bounds
            found[node.name] = _full(node, lowest), _full(node, highest)
        elif isinstance(op, Neuron):
            least, most = node.type.dtype.bounds
            least = least if op.sign is Sign.FREE else 0
            found[node.name] = _full(node, least), _full(node, most)
        elif op.stateful:
            least, most = node.type.dtype.bounds
            found[node.name] = _full(node, found[node.inputs[0]][0].min()), _full(node, most)
        elif op.weighted:
            low, high = found[node.inputs[0]]
            found[node.name] = _synapse(node, weights[node.name], low, high)
        else:
            lows = [found[name][0][None] for name in node.inputs]
            highs = [found[name][1][None] for name in node.inputs]
            found[node.name] = op.run(lows, {})[0], op.run(highs, {})[0]
    return found


def _full(node: Node, value: float) -> Array:
    return np.full(node.type.shape, float(value))


def _synapse(node: Node, w: Array, low: Array, high: Array) -> Interval:
    op = op_of(node)
    up, down = np.maximum(w, 0.0), np.minimum(w, 0.0)

    def through(part: Array, value: Array) -> Array:
        return op.run([value[None]], {"w": part})[0]

    return through(up, low) + through(down, high), through(up, high) + through(down, low)


def potential_reach(current: Interval, bias: Array, theta: Array, v0: Array, steps: int) -> Array:
    """Largest absolute potential, before or after reset, in `steps` steps (*shape).

    `|v| <= |v0| + theta + T * max(-(low + bias), high + bias, (high - low + |bias|) / 2, 0)`:
    firing only brings the potential towards 0, and a negative spike lifts it to at most theta.
    The third term is for signed spikes: after the layer fired, in the first half of the steps,
    they may take back in the second half what they gave.
    """
    low, high = current
    shape = low.shape
    full = spread(bias, shape)
    drift = np.maximum(np.maximum(-(low + full), high + full), 0.0)
    drift = np.maximum(drift, (high - low + np.abs(full)) / 2)
    return np.asarray(np.abs(spread(v0, shape)) + spread(theta, shape) + steps * drift)
