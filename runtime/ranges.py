"""Exact worst-case ranges of an integer graph: every current and potential, over all inputs.

Two kinds of bounds are combined. The range of a value in any single step, carried through T steps
of the neuron's own rule; and the range of its mean over the first t steps (`bounds.py` says why a
signed neuron's mean is never negative), which is what keeps sums over time small.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from spikec.ir import Graph, Node, op_of
from spikec.ir.analysis import Interval, propagate
from spikec.ir.exact import unbounded
from spikec.ir.neuron import FAR, Membrane
from spikec.ir.op import Stateful
from spikec.ir.ops.accumulate import Accumulate
from spikec.ir.types import Array
from spikec.runtime.bounds import sent
from spikec.runtime.interpreter import state_bound, state_type

_EXACT = 1 << 52
"""Numbers below are exact in double precision, too, where they are rounded up."""


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
    single = element_bounds(graph, steps)
    mean = element_bounds(graph, steps, single)
    values, potentials, unknown = {}, {}, []
    for node in graph.nodes:
        op = op_of(node)
        if not op.stateful:
            values[node.name] = _bound(single[node.name], node.type.dtype.bounds)
            continue
        source = graph[node.inputs[0]]
        read = [within(source, bounds[source.name]) for bounds in (single, mean)]
        reach = _potential(graph, node, read[0], read[1], steps)
        if reach is None:
            unknown.append(node.name)
            reach = np.array(-FAR), np.array(FAR)
        membrane = isinstance(op, Membrane)
        limits = state_type(graph, node).bounds if membrane else (-(1 << 31), (1 << 31) - 1)
        potentials[node.name] = _bound(reach, limits)
    return Ranges(values, potentials, tuple(unknown))


def _bound(interval: Interval, limits: tuple[int, int]) -> Bound:
    low, high = interval
    return Bound(int(low.min(initial=FAR)), int(high.max(initial=-FAR)), limits)


def within(node: Node, interval: Interval) -> Interval:
    """What whoever reads a value can meet, int64: a run ends where one leaves its type."""
    low, high = node.type.dtype.bounds
    shape = np.shape(interval[0])
    parts = (np.atleast_1d(part) for part in interval)  # NumPy makes arrays without axes ints
    least, most = (np.minimum(np.maximum(part, low), high).astype(np.int64) for part in parts)
    return least.reshape(shape), most.reshape(shape)


def element_bounds(
    graph: Graph, steps: int, single: Mapping[str, Interval] | None = None
) -> dict[str, Interval]:
    """Bounds of each element of each value (low, high), (*shape), of what its op gives.

    They are int64, or Python's integers where they may exceed it; `within` is what is read of them.

    Args:
        graph: At stage int.
        steps: Time steps T.
        single: The bounds in any single step, to bound the mean over the first t steps, for every
            t, instead.
    """

    def params_of(node: Node) -> dict[str, Array]:
        return {role: array.astype(np.int64) for role, array in graph.arrays(node).items()}

    def emitted(node: Node, bounds: Mapping[str, Interval]) -> Interval:
        read = {name: within(graph[name], bounds[name]) for name in node.inputs}
        if isinstance(node.operation, Accumulate):
            return _sums(graph, node, read[node.inputs[0]], steps)
        return sent(node, read, dtype=np.int64, single=single)

    return propagate(graph.nodes, emitted, params_of, within)


def _sums(graph: Graph, node: Node, current: Interval, steps: int) -> Interval:
    """A readout after any number of steps."""
    low, high = (unbounded(part)[None] for part in current)  # NumPy makes arrays without axes ints
    params = op_of(node, Membrane).spread_params(graph.arrays(node), node.type.shape, low)
    bounds = op_of(node, Stateful).potential_bounds((low, high), (low, high), params, steps)
    assert bounds is not None
    least, most = bounds
    return least[0], most[0]


def _potential(
    graph: Graph, node: Node, single: Interval, mean: Interval, steps: int
) -> Interval | None:
    """Range of a layer's potential in `steps` steps, or None where no bound is known."""
    if state_bound(op_of(node, Stateful), [*single], graph.arrays(node), steps) >= _EXACT:
        return None
    op, params = op_of(node, Stateful), {}
    if isinstance(op, Membrane):
        params = op.spread_params(graph.arrays(node), node.type.shape, np.zeros((), np.int64))
    return op.potential_bounds(single, mean, params, steps)
