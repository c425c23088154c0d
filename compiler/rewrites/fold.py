"""Folds BatchNorm and other constant arithmetic into the synapses around it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spikec.compiler.pipeline import Context, Pass, Record
from spikec.ir import F32, Graph, Node, Param, op_of, spread
from spikec.ir.op import Synapse
from spikec.ir.ops.synapses.affine import Affine

Array = NDArray[Any]


@dataclass(frozen=True)
class Fold(Pass):
    """Merge each affine into the synapse before it, or else into the synapse after it."""

    def run(self, graph: Graph, context: Context, record: Record) -> Graph:
        folded = 0
        while True:
            step = _fold_one(graph)
            if step is None:
                break
            graph, folded = step, folded + 1
        record.note(f"folded {folded} affine nodes into synapses" if folded else "nothing to fold")
        return graph


def _fold_one(graph: Graph) -> Graph | None:
    nodes, readers = graph.by_name, graph.consumers()
    for node in graph.nodes:
        if node.op != "affine":
            continue
        before = nodes[node.inputs[0]]
        alone = readers[before.name] == [node] and before.name not in graph.outputs
        if alone and (merged := _into_previous(graph, before, node)) is not None:
            return _replace(graph, node, merged[0], merged[1])
        after = readers[node.name]
        if len(after) == 1 and node.name not in graph.outputs:
            following = _into_next(graph, node, after[0])
            if following is not None:
                return _replace(graph, node, following[0], following[1])
    return None


def _replace(graph: Graph, gone: Node, merged: Node, params: dict[str, Param]) -> Graph:
    """The graph without an affine, whose readers read the merged synapse."""
    nodes = []
    for node in graph.nodes:
        if node.name == gone.name:
            continue
        node = merged if node.name == merged.name else node
        inputs = tuple(merged.name if name == gone.name else name for name in node.inputs)
        nodes.append(replace(node, inputs=inputs))
    outputs = tuple(merged.name if name == gone.name else name for name in graph.outputs)
    return graph.with_nodes(nodes, params, outputs=outputs)


def _factors(graph: Graph, node: Node) -> tuple[Array, Array]:
    w = graph.array(node, "w").astype(np.float64)
    b = graph.array(node, "b").astype(np.float64) if "b" in node.params else np.zeros(())
    return w, b


def _into_previous(graph: Graph, before: Node, node: Node) -> tuple[Node, dict[str, Param]] | None:
    """The two nodes as one synapse or affine, where the factors are per output channel."""
    w, b = _factors(graph, node)
    if not op_of(before).weighted:
        return None
    if before.op != "affine" and (w.ndim > 1 or b.ndim > 1):
        return None
    w0, b0 = _factors(graph, before)
    if before.op == "affine":
        shape = node.type.shape
        new_w, new_b = _product(w, w0, shape), _sum(_product(w, b0, shape), b, shape)
    else:
        column = np.broadcast_to(w, before.type.shape[:1])
        new_w = op_of(before, Synapse).scale_outputs(w0, column)
        new_b = np.broadcast_to(b, before.type.shape[:1]) + column * b0
    return _merged(before, new_w, new_b)


def _product(a: Array, b: Array, shape: tuple[int, ...]) -> Array:
    return _align(a, b, shape)[0] * _align(a, b, shape)[1]


def _sum(a: Array, b: Array, shape: tuple[int, ...]) -> Array:
    return _align(a, b, shape)[0] + _align(a, b, shape)[1]


def _align(a: Array, b: Array, shape: tuple[int, ...]) -> tuple[Array, Array]:
    return (a, b) if a.ndim <= 1 and b.ndim <= 1 else (spread(a, shape), spread(b, shape))


def _into_next(graph: Graph, node: Node, after: Node) -> tuple[Node, dict[str, Param]] | None:
    """The two nodes as one synapse: factors go to its input side, offsets to its bias.

    An offset passes through zero padding only where there is none.
    """
    w, b = _factors(graph, node)
    op, shape = op_of(after), node.type.shape
    if not isinstance(op, Synapse) or isinstance(op, Affine) or w.ndim > 1:
        return None
    w1, b1 = _factors(graph, after)
    offset = np.broadcast_to(spread(b, shape), shape)
    shift = op.run([offset[None]], {"w": w1})[0]
    shift = shift.reshape(len(shift), -1)
    if (np.ptp(shift, axis=1) > 1e-9 * np.abs(shift).max(axis=1, initial=0)).any():
        return None
    new_w = op.scale_inputs(w1, np.broadcast_to(w, shape[:1]))
    moved = replace(after, inputs=node.inputs)
    return _merged(moved, new_w, b1 + shift.mean(axis=1))


def _merged(synapse: Node, w: Array, b: Array) -> tuple[Node, dict[str, Param]]:
    roles = {"w": f"{synapse.name}.w"} | ({"b": f"{synapse.name}.b"} if b.any() else {})
    values = {"w": w, "b": b}
    params = {roles[role]: Param.of(values[role], F32) for role in roles}
    return replace(synapse, params=roles), params
