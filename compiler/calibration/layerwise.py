"""The layerwise schedule."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

from spikec.compiler.pipeline import Context, Pass, Record, within
from spikec.ir import Graph, Node
from spikec.ir.neuron import Membrane, Needs, Neuron, Sign
from spikec.ir.ops.accumulate import Accumulate
from spikec.ir.ops.accumulate_radix import AccumulateRadix
from spikec.ir.ops.max_pool_count import MaxPoolCount
from spikec.ir.ops.max_pool_radix import MaxPoolRadix
from spikec.ir.ops.neurons import is_offered, neuron_for

MOST_DIGITS = 16
"""Steps up to which sums of binary digits fit the engines' potentials."""


@dataclass(frozen=True)
class Layerwise(Pass):
    """Let each layer integrate for T steps and fire in the next T.

    The network then computes the quantised ANN exactly, at a latency of depth * T steps; samples
    can follow each other every T steps.

    Options: code=rate counts the spikes of a window, radix reads them as binary digits, the most
    significant one first, so that T unit spikes carry 2^T levels instead of T + 1.
    """

    code: Literal["rate", "radix"] = "rate"
    stages = ("snn",)

    def run(self, graph: Graph, context: Context, record: Record) -> Graph:
        if self.code == "radix":
            within("steps of a radix code", graph.steps, 1, MOST_DIGITS)
        nodes = [self._windowed(node) for node in graph.nodes]
        windowed = graph.with_nodes(nodes)
        depth = latency_in_windows(windowed)
        record.note(
            f"layerwise: latency {depth} windows of {graph.steps} steps = {depth * graph.steps} "
            f"steps, throughput one sample every {graph.steps} steps"
        )
        return windowed

    def _windowed(self, node: Node) -> Node:
        op, radix = node.operation, self.code == "radix"
        if radix and isinstance(op, Accumulate):
            return replace(node, operation=AccumulateRadix(core=op.core))
        if radix and isinstance(op, MaxPoolCount):
            return replace(node, operation=MaxPoolRadix.of(op.attributes()))
        if not isinstance(op, Neuron) or not is_offered(op, Needs(op.sign)):
            return node
        sign = Sign.FREE if op.sign is Sign.FREE else Sign.UNSIGNED
        window = replace(neuron_for(Needs(sign, gathers=True, radix=radix)), core=op.core)
        params = {role: name for role, name in node.params.items() if role in window.params}
        return replace(node, operation=window, params=params)


def latency_in_windows(graph: Graph) -> int:
    """Windows from input to result: layers that gather on the longest path, plus one."""
    depth: dict[str, int] = {}
    for node in graph.nodes:
        before = max((depth[name] for name in node.inputs), default=0)
        op = node.operation
        depth[node.name] = before + (isinstance(op, Membrane) and op.gathers)
    return max(depth[name] for name in graph.outputs) + 1
