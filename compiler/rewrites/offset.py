"""Signed quantisers as unsigned ones beside a constant."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from spikec.compiler.pipeline import Context, Pass, Record, within
from spikec.compiler.rewrites.input_codes import without_input_quantisers
from spikec.ir import Graph, GraphBuilder, Node
from spikec.ir.ops.activations.qcfs import Qcfs
from spikec.ir.ops.activations.quantize import Quantize
from spikec.ir.ops.max_pool import MaxPool
from spikec.ir.ops.synapses.affine import Affine


@dataclass(frozen=True)
class Offset(Pass):
    """Shift each signed quantiser whose integers lo to hi are as many as spikes can count.

    `y = scale clip(round(x / scale), lo, hi)` is an unsigned quantiser of `x - lo scale` with
    hi - lo levels, plus `lo scale`, a constant for the neurons that read it. So what takes signed
    spikes, and a bit more, is exact in unsigned ones, asymmetric bounds included. What a maximum is
    taken of is left as it is.

    Options: levels, those that the spikes of a neuron count.
    """

    levels: int = 0

    def check(self) -> None:
        within("levels", self.levels, 0)

    def run(self, graph: Graph, context: Context, record: Record) -> Graph:
        builder, shifted = GraphBuilder(graph), 0
        without, _ = without_input_quantisers(graph, context.spec.input_bits)
        for node in list(builder):
            op = node.operation
            is_code = node.name not in without.by_name  # of an input: no neuron
            if isinstance(op, Quantize) and not is_code and self._fits(builder, node, op):
                _shift(builder, node, op)
                shifted += 1
        record.note(f"{shifted} signed quantisers are unsigned ones beside a constant")
        return builder.finish()

    def _fits(self, builder: GraphBuilder, node: Node, op: Quantize) -> bool:
        pooled = any(isinstance(r.operation, MaxPool) for r in builder.readers(node.name))
        return op.hi - op.lo == self.levels and not pooled


def _shift(builder: GraphBuilder, node: Node, op: Quantize) -> None:
    """`node` becomes the affine behind the unsigned quantiser, and keeps its name."""
    scale = builder.array(node, "scale").astype(np.float64)
    one, constant = np.ones((), np.float32), (op.lo * scale).astype(np.float32)
    before = replace(
        node, name=builder.unique(f"{node.name}.shifted"), operation=Affine(), params={}
    )
    before = builder.insert_before(node.name, builder.declare(before, {"w": one, "b": -constant}))
    quantiser = Qcfs(op.hi - op.lo, 0.5, op.rounding)
    counted = replace(
        node,
        name=builder.unique(f"{node.name}.levels"),
        operation=quantiser,
        inputs=(before.name,),
        params={},
    )
    largest = ((op.hi - op.lo) * scale).astype(np.float32)
    counted = builder.insert_before(node.name, builder.declare(counted, {"lambda": largest}))
    after = replace(node, operation=Affine(), inputs=(counted.name,), params={})
    builder.replace(builder.declare(after, {"w": one, "b": constant}))
