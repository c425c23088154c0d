"""What every value can reach, so that float sums are exact and integers cannot wrap."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from spikec.ir import Graph, Node, op_of
from spikec.ir.analysis import Interval
from spikec.ir.exact import magnitude
from spikec.ir.neuron import total_weight
from spikec.ir.op import Stateful
from spikec.ir.ops.max_pool_count import MaxPoolCount
from spikec.ir.types import Array
from spikec.runtime.interpreter import state_bound
from spikec.runtime.ranges import Ranges, element_bounds, ranges_of, within


@dataclass(frozen=True, slots=True)
class Bounds:
    """Bounds (low, high) of each element of each value, (*shape) int64, over all inputs.

    Attributes:
        graph: At stage int.
        steps: Time steps T.
        single: Of what its op gives in any single step.
        ranges: Of potentials.
    """

    graph: Graph
    steps: int
    single: dict[str, Interval]
    ranges: Ranges

    def span(self, name: str) -> tuple[int, int]:
        """Smallest and largest value within its type in any step, and 0."""
        low, high = within(self.graph[name], self.single[name])
        return min(0, int(low.min(initial=0))), max(0, int(high.max(initial=0)))

    def reach(self, name: str) -> int:
        """Largest absolute value in any step."""
        low, high = self.span(name)
        return max(-low, high)

    def fits(self, node: Node) -> bool:
        """Whether a linear value cannot leave its declared type."""
        low, high = self.single[node.name]
        least, most = node.type.dtype.bounds
        return least <= int(low.min()) and int(high.max()) <= most

    def proven(self, node: Node) -> bool:
        """Whether a layer's potential cannot leave its declared type."""
        if isinstance(node.operation, MaxPoolCount):
            return True
        known = node.name not in self.ranges.unknown
        return known and self.ranges.potentials[node.name].fits

    def state(self, node: Node) -> int:
        """Largest absolute number that a layer's arithmetic can meet, proven or not."""
        p = {role: self.graph.array(node, role) for role in node.params}
        reach = self.reach(node.inputs[0])
        if _may_grow(p):
            return state_bound(op_of(node, Stateful), [np.array([-reach, reach])], p, self.steps)
        op, (low, high) = op_of(node, Stateful), node.type.dtype.bounds
        payload = max(-low, high) if node.type.dtype.is_spike else 1
        digit = 1 << (self.steps - 1) if op.radix else 1
        reset = payload * digit * max(_most(p, "theta"), _most(p, "fire"))
        start = max(_most(p, "v0"), reset, _most(p, "theta_neg"))
        weight = total_weight(self.steps, radix=op.radix)
        return start + weight * (reach + _most(p, "bias")) + 1


def bounds_of(graph: Graph, steps: int) -> Bounds:
    """Bounds of all values of a graph of stage int in `steps` steps."""
    single = element_bounds(graph, steps)
    return Bounds(graph, steps, single, ranges_of(graph, steps))


def _may_grow(params: dict[str, Array]) -> bool:
    """Whether a reset may take a potential farther from 0, as thresholds of any sign can."""
    low = [params[role].min() for role in ("theta", "fire") if role in params]
    return min(low, default=1) <= 0 or params.get("theta_neg", np.zeros(1)).max() > 0


def _most(params: dict[str, Array], role: str) -> int:
    return magnitude(params[role]) if role in params else 0
