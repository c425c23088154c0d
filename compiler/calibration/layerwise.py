"""The layerwise schedule."""

from __future__ import annotations

from dataclasses import dataclass, replace

from spikec.compiler.pipeline import Context, Pass, Record
from spikec.ir import Graph, Node
from spikec.ir.neuron import Membrane, Needs, Neuron, Sign
from spikec.ir.ops.neurons import is_offered, neuron_for


@dataclass(frozen=True)
class Layerwise(Pass):
    """Let each layer integrate for T steps and fire in the next T.

    The network then computes the quantised ANN exactly, at a latency of depth * T steps; samples
    can follow each other every T steps.
    """

    stages = ("snn",)

    def run(self, graph: Graph, context: Context, record: Record) -> Graph:
        nodes = [_windowed(node) for node in graph.nodes]
        windowed = graph.with_nodes(nodes)
        depth = latency_in_windows(windowed)
        record.note(
            f"layerwise: latency {depth} windows of {graph.steps} steps = {depth * graph.steps} "
            f"steps, throughput one sample every {graph.steps} steps"
        )
        return windowed


def _windowed(node: Node) -> Node:
    op = node.operation
    if not isinstance(op, Neuron) or not is_offered(op, Needs(op.sign)):
        return node
    sign = Sign.FREE if op.sign is Sign.FREE else Sign.UNSIGNED
    window = replace(neuron_for(Needs(sign, gathers=True)), core=op.core)
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
