"""Sums in which a term cancels, such as the straight-through `y + (floor(y) - y)`."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from spikec.ir import Graph, GraphBuilder, Node, remove_dead, spread
from spikec.ir.ops.routing.add import Add
from spikec.ir.ops.synapses.affine import Affine
from spikec.ir.types import Array


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
    builder = GraphBuilder(graph)
    sums: dict[str, _Sum] = {}
    for node in builder:
        total = _sum_of(builder, node, sums)
        left = {name: factor for name, factor in total.factors.items() if factor.any()}
        if isinstance(node.operation, Add) and 0 < len(left) < len(total.factors):
            total = _Sum(left, total.offset)
            _spell(builder, node, total)
        sums[node.name] = total
    return remove_dead(builder.finish())


def _sum_of(builder: GraphBuilder, node: Node, sums: dict[str, _Sum]) -> _Sum:
    """What a node is as a sum of values that are no sums."""
    if isinstance(node.operation, Affine) and "w" in node.params:
        shape = node.type.shape
        w = spread(builder.array(node, "w").astype(np.float64), shape)
        has_offset = "b" in node.params
        b = spread(builder.array(node, "b").astype(np.float64), shape) if has_offset else 0.0
        return sums[node.inputs[0]].scaled(w, np.asarray(b))
    if isinstance(node.operation, Add):
        total = sums[node.inputs[0]]
        for name in node.inputs[1:]:
            total = total.plus(sums[name])
        return total
    return _Sum({node.name: np.ones(())}, np.zeros(()))


def _spell(builder: GraphBuilder, node: Node, total: _Sum) -> None:
    """Compute a sum in a node's place; where it is one value unchanged, that is read instead."""
    ((first, factor), *rest) = total.factors.items()
    if not rest and (factor == 1).all() and not total.offset.any():
        builder.redirect(node.name, first)
        return
    terms = []
    for name, factor in total.factors.items():
        offset = total.offset if name == first else np.zeros(())
        term = replace(node, operation=Affine(), inputs=(name,))
        if rest:
            term = replace(term, name=builder.unique(f"{node.name}.{name}"))
        term = builder.declare(term, {"w": compact(factor), "b": compact(offset)})
        terms.append(
            (builder.insert_before(node.name, term) if rest else builder.replace(term)).name
        )
    if rest:
        builder.replace(replace(node, inputs=tuple(terms)))


def compact(array: Array) -> Array:
    """A broadcast array as a param is shaped: () or (channels,) where that says it all."""
    if array.size == 1:
        return array.reshape(())
    return array.reshape(-1) if array.size == array.shape[0] else array
