"""Exact worst-case ranges of an integer graph: every current and potential, over all inputs.

Two kinds of bounds are combined. The range of a value in any single step, carried through T steps
of the neuron's own rule; and the range of its mean over the first t steps (`bounds.py` says why a
signed neuron's mean is never negative), which is what keeps sums over time small.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spikec.ir import Graph, Node, op_of, spread
from spikec.ir.analysis import Interval, propagate
from spikec.ir.neuron import Neuron, Sign
from spikec.runtime.bounds import potential_reach, sent
from spikec.runtime.interpreter import state_type

Array = NDArray[Any]
_FAR = 1 << 62


@dataclass(frozen=True, slots=True)
class Bound:
    """Smallest and largest value of a node's current or potential, and what its type holds."""

    low: int
    high: int
    limits: tuple[int, int]

    @property
    def bits(self) -> int:
        """Width of the smallest signed integer that holds the range."""
        return signed_bits(self.low, self.high)

    @property
    def margin(self) -> int:
        """Bits that its type has to spare; negative where the range does not fit."""
        return signed_bits(*self.limits) - self.bits

    @property
    def fits(self) -> bool:
        """Whether no value can leave the type."""
        return self.limits[0] <= self.low and self.high <= self.limits[1]


def signed_bits(low: int, high: int) -> int:
    """Width of the smallest signed integer that holds `low` to `high`."""
    return max(high, -low - 1, 0).bit_length() + 1


@dataclass(frozen=True, slots=True)
class Ranges:
    """What `ranges_of` found.

    Attributes:
        values: For each linear node the range in any single step.
        potentials: For each layer the range of its potential, before and after reset.
        unknown: Layers whose op has no known bound.
    """

    values: dict[str, Bound]
    potentials: dict[str, Bound]
    unknown: tuple[str, ...]


def ranges_of(graph: Graph, steps: int | None = None) -> Ranges:
    """Worst-case ranges of a graph of stage int in `steps` steps."""
    steps = steps or graph.steps
    single, mean = element_bounds(graph, mean=False), element_bounds(graph, mean=True)
    values, potentials, unknown = {}, {}, []
    for node in graph.nodes:
        op = op_of(node)
        if not op.stateful:
            values[node.name] = _bound(single[node.name], node.type.dtype.bounds)
            continue
        source = node.inputs[0]
        found = _potential(graph, node, single[source], mean[source], steps)
        if found is None:
            unknown.append(node.name)
            found = np.array(-_FAR), np.array(_FAR)
        limits = (-(1 << 31), (1 << 31) - 1)
        if node.op != "max_pool_count":
            limits = state_type(graph, node).bounds
        potentials[node.name] = _bound(found, limits)
    return Ranges(values, potentials, tuple(unknown))


def _bound(interval: Interval, limits: tuple[int, int]) -> Bound:
    low, high = interval
    return Bound(int(low.min(initial=_FAR)), int(high.max(initial=-_FAR)), limits)


def element_bounds(graph: Graph, *, mean: bool) -> dict[str, Interval]:
    """Bounds of each element of each value (low, high), int64 (*shape).

    Args:
        graph: At stage int.
        mean: Bound the mean over the first t steps, for every t, instead of any single step.
    """

    def params_of(node: Node) -> dict[str, Array]:
        return {role: array.astype(np.int64) for role, array in graph.arrays(node).items()}

    return propagate(graph.nodes, partial(sent, mean=mean, dtype=np.int64), params_of)


def _potential(
    graph: Graph, node: Node, single: Interval, mean: Interval, steps: int
) -> Interval | None:
    """Range of a layer's potential in `steps` steps, or None where its op is not known."""
    shape = node.type.shape
    roles = {role for role in node.params if role != "scale"}
    p = {r: spread(graph.array(node, r).astype(np.int64), shape) for r in roles}
    bias = p.get("bias", np.zeros((), np.int64))
    if node.op == "accumulate":
        low, high = mean[0] + bias, mean[1] + bias
        return np.minimum(low, steps * low), np.maximum(high, steps * high)
    if node.op == "max_pool_count":
        return mean[0].min() * steps, mean[1].max() * steps
    if node.op == "integrate_window":
        low, high = mean[0] + bias, mean[1] + bias
        low = np.minimum(p["v0"] + np.minimum(low * steps, 0), 0)
        return low, np.maximum(p["v0"] + np.maximum(high * steps, 0), p["theta"])
    if node.op not in _RESETS:
        return None
    if node.op == "integrate_graded" and (2 * p["fire"] < p["theta"]).any():
        return None
    reach = np.full(shape, _FAR, np.int64)
    unit = node.op != "integrate_graded"
    if unit and (p["theta"] > 0).all() and (p.get("theta_neg", np.zeros(1)) <= 0).all():
        found = potential_reach(mean, bias, p["theta"], p["v0"], steps)
        reach = np.broadcast_to(np.ceil(found), shape).astype(np.int64)
    low = high = np.broadcast_to(p["v0"], shape)
    lowest, highest = low, high
    for _ in range(steps):
        low = np.maximum(low + single[0] + bias, -reach)
        high = np.minimum(high + single[1] + bias, reach)
        lowest, highest = np.minimum(lowest, low), np.maximum(highest, high)
        low, high = _RESETS[node.op](low, high, p, op_of(node, Neuron).sign is Sign.FREE)
        low, high = np.maximum(low, -reach), np.minimum(high, reach)
        lowest, highest = np.minimum(lowest, low), np.maximum(highest, high)
    return lowest, highest


def _hull(*parts: tuple[Array, Array, Array]) -> Interval:
    """Smallest range around those (condition, low, high) whose condition holds."""
    low, high = np.array(_FAR), np.array(-_FAR)
    for holds, least, most in parts:
        low = np.minimum(low, np.where(holds, least, _FAR))
        high = np.maximum(high, np.where(holds, most, -_FAR))
    return low, high


def _after_unsigned(low: Array, high: Array, p: dict[str, Array], free: bool) -> Interval:
    theta = p["theta"]
    return _hull(
        (high >= theta, np.maximum(low, theta) - theta, high - theta),
        (low < theta, low, np.minimum(high, theta - 1)),
    )


def _after_signed(low: Array, high: Array, p: dict[str, Array], free: bool) -> Interval:
    theta, neg = p["theta"], p["theta_neg"]
    quiet = np.maximum(low, neg) if free else low
    return _hull(
        (high >= theta, np.maximum(low, theta) - theta, high - theta),
        ((quiet < theta) & (quiet <= high), quiet, np.minimum(high, theta - 1)),
        (low < neg, low + theta, np.minimum(high, neg - 1) + theta),
    )


def _after_graded(low: Array, high: Array, p: dict[str, Array], free: bool) -> Interval:
    """Firing never raises |v|, as 2 fire >= theta."""
    return np.minimum(low, -high), np.maximum(high, -low)


_RESETS = {
    "integrate": _after_unsigned,
    "integrate_signed": _after_signed,
    "integrate_graded": _after_graded,
}
"""Range after the reset, from that before it."""
