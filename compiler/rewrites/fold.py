"""Folds BatchNorm and other constant arithmetic into the synapses around it."""

from __future__ import annotations

import heapq
from dataclasses import dataclass, replace

import numpy as np

from spikec.compiler.pipeline import Context, Pass, Record
from spikec.ir import Graph, GraphBuilder, Node, op_of, spread
from spikec.ir.op import Synapse
from spikec.ir.ops.synapses.affine import Affine
from spikec.ir.types import Array


@dataclass(frozen=True)
class Fold(Pass):
    """Merge each affine into the synapse before it, or else into the synapse after it."""

    def run(self, graph: Graph, context: Context, record: Record) -> Graph:
        graph, folded = fold(graph)
        record.note(f"folded {folded} affine nodes into synapses" if folded else "nothing to fold")
        return graph


def fold(graph: Graph) -> tuple[Graph, int]:
    """The graph with affines folded, first ones first, and how many were.

    Whether an affine folds depends on its neighbours alone. So after a fold only those around the
    merged synapse are looked at again, and the whole takes a time linear in the graph.
    """
    builder, folded = GraphBuilder(graph), 0
    waiting = [
        (graph.position[n.name], n.name) for n in graph.nodes if isinstance(n.operation, Affine)
    ]
    while waiting:
        _, name = heapq.heappop(waiting)
        merged = _fold_affine(builder, builder[name]) if name in builder else None
        if merged is None:
            continue
        folded += 1
        around = [builder[source] for source in merged.inputs] + [merged]
        for node in (*around, *builder.readers(merged.name)):
            if isinstance(node.operation, Affine):
                heapq.heappush(waiting, (graph.position[node.name], node.name))
    return builder.finish(), folded


def _fold_affine(builder: GraphBuilder, node: Node) -> Node | None:
    """Merge an affine with the synapse before it, or else after it; the merged one if it fits."""
    before = builder[node.inputs[0]]
    if builder.only_reader(before.name) is not None:
        merged = _into_previous(builder, before, node)
        if merged is not None:
            merged = builder.replace(merged)
            builder.redirect(node.name, merged.name)
            builder.erase(node.name)
            return merged
    after = builder.only_reader(node.name)
    merged = None if after is None else _into_next(builder, node, after)
    if merged is not None:
        merged = builder.replace(merged)
        builder.erase(node.name)
    return merged


def _factors(builder: GraphBuilder, node: Node) -> tuple[Array, Array]:
    w = builder.array(node, "w").astype(np.float64)
    b = builder.array(node, "b").astype(np.float64) if "b" in node.params else np.zeros(())
    return w, b


def _into_previous(builder: GraphBuilder, before: Node, node: Node) -> Node | None:
    """The two nodes as one synapse or affine, where the factors are per output channel."""
    w, b = _factors(builder, node)
    if not op_of(before).weighted:
        return None
    if not isinstance(before.operation, Affine) and (w.ndim > 1 or b.ndim > 1):
        return None
    w0, b0 = _factors(builder, before)
    if isinstance(before.operation, Affine):
        shape = node.type.shape
        new_w, new_b = _product(w, w0, shape), _sum(_product(w, b0, shape), b, shape)
    else:
        column = np.broadcast_to(w, before.type.shape[:1])
        new_w = op_of(before, Synapse).scale_outputs(w0, column)
        new_b = np.broadcast_to(b, before.type.shape[:1]) + column * b0
    return _merged(builder, before, new_w, new_b)


def _product(a: Array, b: Array, shape: tuple[int, ...]) -> Array:
    return _align(a, b, shape)[0] * _align(a, b, shape)[1]


def _sum(a: Array, b: Array, shape: tuple[int, ...]) -> Array:
    return _align(a, b, shape)[0] + _align(a, b, shape)[1]


def _align(a: Array, b: Array, shape: tuple[int, ...]) -> tuple[Array, Array]:
    return (a, b) if a.ndim <= 1 and b.ndim <= 1 else (spread(a, shape), spread(b, shape))


def _into_next(builder: GraphBuilder, node: Node, after: Node) -> Node | None:
    """The two nodes as one synapse: factors go to its input side, offsets to its bias.

    An offset passes through zero padding only where there is none.
    """
    w, b = _factors(builder, node)
    op, shape = op_of(after), node.type.shape
    if not isinstance(op, Synapse) or isinstance(op, Affine) or w.ndim > 1:
        return None
    w1, b1 = _factors(builder, after)
    offset = np.broadcast_to(spread(b, shape), shape)
    shift = op.run([offset[None]], {"w": w1})[0]
    shift = shift.reshape(len(shift), -1)
    if (np.ptp(shift, axis=1) > 1e-9 * np.abs(shift).max(axis=1, initial=0)).any():
        return None
    new_w = op.scale_inputs(w1, np.broadcast_to(w, shape[:1]))
    moved = replace(after, inputs=node.inputs)
    return _merged(builder, moved, new_w, b1 + shift.mean(axis=1))


def _merged(builder: GraphBuilder, synapse: Node, w: Array, b: Array) -> Node:
    return builder.declare(synapse, {"w": w, "b": b} if b.any() else {"w": w})
