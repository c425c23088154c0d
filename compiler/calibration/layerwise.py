"""The layerwise schedule."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

from spikec.compiler.pipeline import Context, Pass, Record, within
from spikec.ir import Graph, Node
from spikec.ir.neuron import Needs, Neuron, Sign
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
        return graph.with_nodes([self._windowed(node) for node in graph.nodes])

    def _windowed(self, node: Node) -> Node:
        op, radix = node.operation, self.code == "radix"
        if radix and isinstance(op, Accumulate):
            return replace(node, operation=AccumulateRadix(core=op.core))
        if radix and isinstance(op, MaxPoolCount):
            return replace(node, operation=MaxPoolRadix.of(op.attributes()))
        if not isinstance(op, Neuron) or not is_offered(op, Needs(op.sign)):
            return node
        window = replace(windowed(op, radix=radix), core=op.core)
        params = {role: name for role, name in node.params.items() if role in window.params}
        return replace(node, operation=window, params=params)


def windowed(op: Neuron, *, radix: bool = False) -> Neuron:
    """The neuron of unit spikes that gathers a window in the place of one that does not."""
    sign = Sign.FREE if op.sign is Sign.FREE else Sign.UNSIGNED
    return neuron_for(Needs(sign, gathers=True, radix=radix))
