"""Worst-case bounds of currents and potentials over all inputs, by interval arithmetic."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spikec.ir import Node, op_of, spread
from spikec.ir.analysis import Interval, propagate
from spikec.ir.neuron import Neuron, Sign

Array = NDArray[Any]
_NET_COUNT = ("integrate", "integrate_signed", "integrate_graded", "integrate_window")
"""Neurons whose net count of spikes is never negative, unless free."""


def intervals(nodes: Sequence[Node], weights: Mapping[str, Array]) -> dict[str, Interval]:
    """Bounds of each value's mean over the first t steps, for every t and every input.

    A spiking neuron's net count after t steps is between 0 and t (-t and t if free), so its mean
    is between 0 and 1 (-1 and 1) whatever it receives; with payloads, between 0 and the largest.

    Args:
        nodes: An integer graph's nodes in topological order.
        weights: Real or integer weights of the synapses among them.

    Returns:
        Node name to (low, high), each (*shape) float64.
    """

    def params_of(node: Node) -> dict[str, Array]:
        return {"w": weights[node.name]} if op_of(node).weighted else {}

    return propagate(nodes, partial(sent, mean=True, dtype=np.float64), params_of)


def sent(
    node: Node, bounds: Mapping[str, Interval], *, mean: bool, dtype: type[np.generic]
) -> Interval:
    """Bounds of what an input or a layer sends.

    Args:
        node: The input or layer.
        bounds: Of what comes before it.
        mean: Bound the mean over the first t steps, for every t, instead of any single step.
        dtype: Of the bounds.
    """
    low, high = node.type.dtype.bounds
    if op_of(node).neuron:
        low = _least(node, mean)
    elif op_of(node).stateful:
        below = bounds[node.inputs[0]]
        low, high = min(0, int(below[0].min())), max(0, int(below[1].max()))
    shape = node.type.shape
    return np.full(shape, low, dtype), np.full(shape, high, dtype)


def _least(node: Node, mean: bool) -> int:
    """The smallest spike of a neuron, or the smallest mean of its spikes."""
    if op_of(node, Neuron).sign is Sign.FREE:
        never_negative = False
    elif mean:
        never_negative = node.op in _NET_COUNT
    else:
        never_negative = node.op in ("integrate", "integrate_window")
    return 0 if never_negative else node.type.dtype.bounds[0]


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
