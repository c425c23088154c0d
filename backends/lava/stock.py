"""Which layers Lava's own ATRLIF computes exactly, by proof."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from spikec.backends.lava import intervals
from spikec.backends.lava.calls import Interval
from spikec.backends.lava.plan import Fit, Wire
from spikec.ir import Graph, Node, spread
from spikec.ir.types import Array
from spikec.runtime.interpreter import state_type

CURRENT = (-(1 << 15), (1 << 15) - 1)
"""ATRLIF declares 16 bits for its input."""
POTENTIAL = (-(1 << 17) + 1, (1 << 17) - 1)
"""It holds v in 24 bits, shifted left by 6."""
THRESHOLD = 2 * ((1 << 12) - 1)
"""Largest threshold: it declares 12 bits for the half."""
BIAS = (-(1 << 12), (1 << 12) - 1)
"""It declares 13 bits for a bias."""


def fit(graph: Graph, node: Node, wires: tuple[Wire, ...], current: Interval, steps: int) -> Fit:
    """Whether ATRLIF is exact for a layer of integrate-and-fire neurons, whatever the input.

    Args:
        graph: The graph.
        node: The layer.
        wires: What enters it.
        current: Range of the current in each step.
        steps: Time steps per sample.
    """
    if any(wire.latency is None for wire in wires):
        return Fit("a constant current reaches it before its first step")
    theta, v0, bias = (_array(graph, node, role) for role in ("theta", "v0", "bias"))
    offset = max(wire.latency or 0 for wire in wires)
    if offset and (v0 >= theta).any():
        return Fit("v0 fires before its first step")
    limits = state_type(graph, node).bounds
    width = max(limits[0], CURRENT[0]), min(limits[1], CURRENT[1])
    gated = not intervals.within((int(bias.min()), int(bias.max())), BIAS)
    gated |= bool((v0 - max(0, offset - 1) * bias >= theta).any())
    if gated:
        current = current[0] + min(0, int(bias.min())), current[1] + max(0, int(bias.max()))
        bias = np.zeros_like(bias)
    if not intervals.within(current, width):
        return Fit(f"a current of {_text(current)} is not proven to fit {_text(width)}")
    if theta.max() > THRESHOLD or theta.min() < 1:
        return Fit(f"a threshold of {theta.max()} does not fit 13 bits")
    sums = _sums(theta, v0, bias, current, offset, steps)
    width = max(limits[0], POTENTIAL[0]), min(limits[1], POTENTIAL[1])
    if not intervals.within(sums, width):
        return Fit(f"a sum of all input of {_text(sums)} is not proven to fit {_text(width)}")
    even = bool((theta % 2 == 0).all())
    return Fit(uniform=even and theta.min() == theta.max(), bias_as_input=gated)


def _sums(
    theta: Array,
    v0: Array,
    bias: Array,
    current: Interval,
    offset: int,
    steps: int,
) -> Interval:
    """Range of a potential that is never reset, with and without half the threshold."""
    early = -offset * bias
    low = np.minimum(0, early) + steps * np.minimum(0, current[0] + bias)
    high = np.maximum(0, early) + steps * np.maximum(0, current[1] + bias)
    return int((v0 - theta + low).min()), int((v0 + theta + high).max())


def _array(graph: Graph, node: Node, role: str) -> NDArray[np.int64]:
    if role not in node.params:
        return np.zeros(node.type.shape, np.int64)
    array = spread(graph.array(node, role).astype(np.int64), node.type.shape)
    return np.broadcast_to(array, node.type.shape)


def _text(interval: tuple[Any, Any]) -> str:
    return f"{interval[0]} to {interval[1]}"
