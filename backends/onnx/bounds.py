"""What every value can reach, so that float sums are exact and integers cannot wrap."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from spikec.backends.onnx.writer import Array
from spikec.ir import Graph, Node, op_of, spread
from spikec.runtime.interpreter import state_type

Interval = tuple[Array, Array]


@dataclass(frozen=True, slots=True)
class Bounds:
    """Bounds (low, high) of each element of each value, (*shape) int64, over all inputs.

    Attributes:
        graph: At stage int.
        steps: Time steps T.
        single: In any single step.
        mean: Of the mean over the first t steps, for every t: a signed neuron's is not negative.
    """

    graph: Graph
    steps: int
    single: dict[str, Interval]
    mean: dict[str, Interval]

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
        if node.op == "max_pool_count":
            return True
        found = _potential(self, node)
        low, high = state_type(self.graph, node).bounds
        return found is not None and low <= int(found[0].min()) and int(found[1].max()) <= high

    def state(self, node: Node) -> int:
        """Largest absolute number that a layer's arithmetic can meet, proven or not."""
        p = _params(self.graph, node)
        largest = node.type.dtype.bounds[1] if node.type.dtype.kind == "spike" else 1
        start = max(_most(p, "v0"), largest * max(_most(p, "theta"), _most(p, "fire")))
        return start + self.steps * (self.reach(node.inputs[0]) + _most(p, "bias")) + 1


def bounds_of(graph: Graph, steps: int) -> Bounds:
    """Bounds of all values of a graph of stage int in `steps` steps."""
    single, mean = (_elements(graph, mean=mean) for mean in (False, True))
    return Bounds(graph, steps, single, mean)


def _elements(graph: Graph, *, mean: bool) -> dict[str, Interval]:
    found: dict[str, Interval] = {}
    for node in graph.nodes:
        inputs, dtype = [found[name] for name in node.inputs], node.type.dtype
        if node.op == "input":
            found[node.name] = _full(node, *dtype.bounds)
        elif op_of(node).neuron:
            found[node.name] = _full(node, _least(node, mean), dtype.bounds[1])
        elif op_of(node).stateful:
            low, high = inputs[0]
            found[node.name] = _full(node, min(0, int(low.min())), max(0, int(high.max())))
        else:
            found[node.name] = _through(graph, node, inputs)
    return found


def _least(node: Node, mean: bool) -> int:
    """The smallest spike of a neuron, or the smallest mean of its spikes."""
    unsigned = node.op == "integrate" or (node.op == "integrate_window")
    never_negative = (mean or unsigned) and not node.attrs.get("free")
    return 0 if never_negative else node.type.dtype.bounds[0]


def _full(node: Node, low: int, high: int) -> Interval:
    shape = node.type.shape
    return np.full(shape, low, np.int64), np.full(shape, high, np.int64)


def _through(graph: Graph, node: Node, inputs: list[Interval]) -> Interval:
    """Bounds of a linear op's result."""
    op, lows, highs = op_of(node), [x[0][None] for x in inputs], [x[1][None] for x in inputs]
    params = {r: graph.array(node, r).astype(np.int64) for r in ("w", "b") if r in node.params}
    if "w" not in params:
        return op.run(lows, node.attrs, params)[0], op.run(highs, node.attrs, params)[0]
    up, down = np.maximum(params["w"], 0), np.minimum(params["w"], 0)
    with_up, with_down = {**params, "w": up}, {"w": down}
    low = op.run(lows, node.attrs, with_up) + op.run(highs, node.attrs, with_down)
    high = op.run(highs, node.attrs, with_up) + op.run(lows, node.attrs, with_down)
    return low[0], high[0]


def _params(graph: Graph, node: Node) -> dict[str, Array]:
    return {
        role: spread(graph.array(node, role).astype(np.int64), node.type.shape)
        for role in node.params
        if role != "scale"
    }


def _most(params: dict[str, Array], role: str) -> int:
    return int(np.abs(params[role]).max(initial=0)) if role in params else 0


def _potential(bounds: Bounds, node: Node) -> Interval | None:
    """Bounds of a layer's potential before and after reset, or None where none are known."""
    p, steps, source = _params(bounds.graph, node), bounds.steps, node.inputs[0]
    bias = p.get("bias", np.zeros((), np.int64))
    low, high = (bound + bias for bound in bounds.mean[source])
    fall, rise = np.minimum(low, steps * low), np.maximum(high, steps * high)
    if node.op == "accumulate":
        return fall, rise
    theta, v0 = p["theta"], p["v0"]
    if (theta < 1).any() or (p.get("theta_neg", np.zeros(1)) > 0).any():
        return None
    if node.op == "integrate_window":
        return np.minimum(v0 + fall, 0), np.maximum(v0 + rise, theta)
    if node.op == "integrate_graded":
        if (2 * p["fire"] < theta).any():
            return None
        low, high = (bound + bias for bound in bounds.single[source])
        most = np.abs(v0) + steps * np.maximum(np.abs(low), np.abs(high))
        return -most, most
    # Firing brings v towards 0, a negative spike lifts it to theta at most; signed spikes may
    # take back in the second half of the steps what they gave in the first.
    drift = np.maximum(np.maximum(-low, high), 0)
    drift = np.maximum(drift, -(-(high - low + np.abs(bias)) // 2))
    most = np.abs(v0) + theta + steps * drift
    return -most, most
