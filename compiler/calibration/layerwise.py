"""The layerwise schedule."""

from __future__ import annotations

from dataclasses import dataclass, replace

from spikec.compiler.pipeline import Context, Pass, Record
from spikec.ir import Graph, Node, op_of
from spikec.ir.neuron import Neuron, Sign
from spikec.ir.ops.neurons.integrate_window import IntegrateWindow


@dataclass(frozen=True)
class Layerwise(Pass):
    """Let each layer integrate for T steps and fire in the next T.

    The network then computes the quantised ANN exactly, at a latency of depth * T steps; samples
    can follow each other every T steps.
    """

    stages = ("snn",)

    def run(self, graph: Graph, context: Context, record: Record) -> Graph:
        nodes = [_windowed(node) for node in graph.nodes]
        depth = latency_in_windows(graph)
        record.note(
            f"layerwise: latency {depth} windows of {graph.steps} steps = {depth * graph.steps} "
            f"steps, throughput one sample every {graph.steps} steps"
        )
        return graph.with_nodes(nodes)


def _windowed(node: Node) -> Node:
    if node.op not in ("integrate", "integrate_signed"):
        return node
    params = {role: name for role, name in node.params.items() if role != "theta_neg"}
    op = op_of(node, Neuron)
    window = IntegrateWindow(free=op.sign is Sign.FREE, core=op.core)
    return replace(node, operation=window, params=params)


def latency_in_windows(graph: Graph) -> int:
    """Windows from the first input to the result: neuron layers on the longest path, plus one."""
    depth: dict[str, int] = {}
    for node in graph.nodes:
        before = max((depth[name] for name in node.inputs), default=0)
        fires = node.op in ("integrate", "integrate_signed", "integrate_window")
        depth[node.name] = before + fires
    return max(depth[name] for name in graph.outputs) + 1
