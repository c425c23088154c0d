"""What every value can reach, so that float sums are exact and integers cannot wrap."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from spikec.backends.onnx.writer import Array
from spikec.ir import Graph, Node
from spikec.ir.analysis import Interval
from spikec.ir.ops.max_pool_count import MaxPoolCount
from spikec.runtime.ranges import Ranges, element_bounds, ranges_of


@dataclass(frozen=True, slots=True)
class Bounds:
    """Bounds (low, high) of each element of each value, (*shape) int64, over all inputs.

    Attributes:
        graph: At stage int.
        steps: Time steps T.
        single: In any single step.
        ranges: Of potentials.
    """

    graph: Graph
    steps: int
    single: dict[str, Interval]
    ranges: Ranges

    def span(self, name: str) -> tuple[int, int]:
        """Smallest and largest value in any step, and 0."""
        low, high = self.single[name]
        return min(0, int(low.min(initial=0))), max(0, int(high.max(initial=0)))

    def reach(self, name: str) -> int:
        """Largest absolute value in any step."""
        low, high = self.span(name)
        return max(-low, high)

    def fits(self, node: Node) -> bool:
        """Whether a linear value cannot leave its declared type."""
        low, high = self.span(node.name)
        least, most = node.type.dtype.bounds
        return least <= low and high <= most

    def proven(self, node: Node) -> bool:
        """Whether a layer's potential cannot leave its declared type."""
        if isinstance(node.operation, MaxPoolCount):
            return True
        known = node.name not in self.ranges.unknown
        return known and self.ranges.potentials[node.name].fits

    def state(self, node: Node) -> int:
        """Largest absolute number that a layer's arithmetic can meet, proven or not."""
        p = {role: self.graph.array(node, role) for role in node.params}
        largest = node.type.dtype.bounds[1] if node.type.dtype.is_spike else 1
        start = max(_most(p, "v0"), largest * max(_most(p, "theta"), _most(p, "fire")))
        return start + self.steps * (self.reach(node.inputs[0]) + _most(p, "bias")) + 1


def bounds_of(graph: Graph, steps: int) -> Bounds:
    """Bounds of all values of a graph of stage int in `steps` steps."""
    return Bounds(graph, steps, element_bounds(graph, mean=False), ranges_of(graph, steps))


def _most(params: dict[str, Array], role: str) -> int:
    return int(np.abs(params[role].astype(np.int64)).max(initial=0)) if role in params else 0
