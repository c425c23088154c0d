"""Worst-case bounds of currents and potentials over all inputs, by interval arithmetic."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial

import numpy as np

from spikec.ir import Node, op_of
from spikec.ir.analysis import Interval, propagate
from spikec.ir.neuron import Neuron, Sign
from spikec.ir.op import Stateful
from spikec.ir.types import Array


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

    emitted, single = partial(sent, dtype=np.float64), dict[str, Interval]()
    if any(isinstance(node.operation, Stateful) and node.operation.radix for node in nodes):
        single = propagate(nodes, emitted, params_of)
    return propagate(nodes, partial(emitted, single=single), params_of)


def sent(
    node: Node,
    bounds: Mapping[str, Interval],
    *,
    dtype: type[np.generic],
    single: Mapping[str, Interval] | None = None,
) -> Interval:
    """Bounds of what an input or a layer sends.

    Args:
        node: The input or layer.
        bounds: Of what comes before it.
        dtype: Of the bounds.
        single: Bounds in any single step; then the result bounds the mean over the first t steps,
            for every t, and so do `bounds`.
    """
    low, high = node.type.dtype.bounds
    op = op_of(node)
    if isinstance(op, Neuron):
        low = _least(op, mean=single is not None)
    elif isinstance(op, Stateful):
        # Where digits are taken back, each by its weight, their plain sum may fall below 0.
        below = (single if single is not None and op.radix else bounds)[node.inputs[0]]
        low, high = min(0, int(below[0].min())), max(0, int(below[1].max()))
    shape = node.type.shape
    return np.full(shape, low, dtype), np.full(shape, high, dtype)


def _least(op: Neuron, *, mean: bool) -> int:
    """The smallest payload of a neuron, or the smallest mean of its payloads."""
    never_negative = op.sign is Sign.UNSIGNED or (mean and op.sign is Sign.TAKES_BACK)
    return 0 if never_negative else op.payload.bounds[0]
