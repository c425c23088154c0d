"""Sums in which a term cancels, such as the straight-through `y + (floor(y) - y)`."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spikec.compiler.rewrite import fresh, remove_dead
from spikec.ir import F32, Graph, Node, Param, spread
from spikec.ir.ops.synapses.affine import Affine

Array = NDArray[Any]


@dataclass(frozen=True, slots=True)
class _Sum:
    """`sum(factor * value) + offset`; factors and offset broadcast to the values."""

    factors: dict[str, Array]
    offset: Array

    def scaled(self, w: Array, b: Array) -> _Sum:
        factors = {name: w * factor for name, factor in self.factors.items()}
        return _Sum(factors, w * self.offset + b)

    def plus(self, other: _Sum) -> _Sum:
        factors = dict(self.factors)
        for name, factor in other.factors.items():
            factors[name] = factors[name] + factor if name in factors else factor
        return _Sum(factors, self.offset + other.offset)


def cancel_terms(graph: Graph) -> Graph:
    """The graph with every sum in which a term cancels replaced by what is left of it."""
    sums: dict[str, _Sum] = {}
    renamed: dict[str, str] = {}
    nodes: list[Node] = []
    params: dict[str, Param] = {}
    for original in graph.nodes:
        inputs = tuple(renamed.get(name, name) for name in original.inputs)
        node = replace(original, inputs=inputs)
        found = _sum_of(graph, node, sums)
        kept = {name: f for name, f in found.factors.items() if f.any()}
        if node.op == "add" and 0 < len(kept) < len(found.factors):
            found = _Sum(kept, found.offset)
            made, values = _spelled(graph, node, found)
            params.update(values)
            nodes += made
            if not made:
                renamed[node.name] = next(iter(kept))
        else:
            nodes.append(node)
        sums[node.name] = found
    outputs = tuple(renamed.get(name, name) for name in graph.outputs)
    return remove_dead(graph.with_nodes(nodes, params, outputs=outputs))


def _sum_of(graph: Graph, node: Node, sums: dict[str, _Sum]) -> _Sum:
    """What a node is as a sum of values that are no sums."""
    if node.op == "affine" and "w" in node.params:
        shape = node.type.shape
        w = spread(graph.array(node, "w").astype(np.float64), shape)
        b = spread(graph.array(node, "b").astype(np.float64), shape) if "b" in node.params else 0.0
        return sums[node.inputs[0]].scaled(w, np.asarray(b))
    if node.op == "add":
        total = sums[node.inputs[0]]
        for name in node.inputs[1:]:
            total = total.plus(sums[name])
        return total
    return _Sum({node.name: np.ones(())}, np.zeros(()))


def _spelled(graph: Graph, node: Node, total: _Sum) -> tuple[list[Node], dict[str, Param]]:
    """Nodes that compute a sum; none where it is one value unchanged."""
    ((first, factor), *rest) = total.factors.items()
    if not rest and (factor == 1).all() and not total.offset.any():
        return [], {}
    taken = set(graph.by_name)
    nodes, params, terms = list[Node](), dict[str, Param](), list[str]()
    for name, factor in total.factors.items():
        term = node.name if not rest else fresh(f"{node.name}.{name}", taken)
        taken.add(term)
        offset = total.offset if name == first else np.zeros(())
        roles = {}
        for role, array in (("w", factor), ("b", offset)):
            roles[role] = f"{term}.{role}"
            flat = array.size > 1 and array.size == array.shape[0]
            array = array.reshape(()) if array.size == 1 else array
            params[roles[role]] = Param.of(array.reshape(-1) if flat else array, F32)
        terms.append(term)
        nodes.append(replace(node, name=term, operation=Affine(), inputs=(name,), params=roles))
    if rest:
        nodes.append(replace(node, inputs=tuple(terms)))
    return nodes, params
