"""Any linear op as a matrix, found by running the op itself.

An op that only moves elements (a slice, a transposition, padding) shows in one run where each
comes from; any other is run on all unit vectors.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from spikec.ir import BackendError, Graph, Node, op_of
from spikec.ir.types import Array

_BATCH = 1 << 22
"""Elements of a batch of unit vectors or of its results."""
_LARGEST = 1 << 26
"""Entries of a matrix that is still emitted."""


@dataclass(frozen=True, slots=True)
class Matrix:
    """A sparse matrix (out, in) by its non-zero entries."""

    weight: Array
    row: NDArray[np.int64]
    column: NDArray[np.int64]
    shape: tuple[int, int]


def matrices(graph: Graph, node: Node) -> tuple[list[Matrix], Array]:
    """One matrix per input, and the constant that the op adds.

    Raises:
        BackendError: when they would hold too many entries.
    """
    shapes = [graph[name].type.shape for name in node.inputs]
    offset = _run(graph, node, [np.zeros((1, *shape), np.int64) for shape in shapes])[0]
    return [_matrix(graph, node, shapes, k, offset) for k in range(len(shapes))], offset


def _matrix(
    graph: Graph, node: Node, shapes: list[tuple[int, ...]], k: int, offset: Array
) -> Matrix:
    def run(x: NDArray[np.int64]) -> Array:
        """The op's linear part: (batch, in) to (batch, out)."""
        inputs = [np.zeros((len(x), *shape), np.int64) for shape in shapes]
        inputs[k] = x.reshape(len(x), *shapes[k])
        difference: Array = _run(graph, node, inputs) - offset
        return difference.reshape(len(x), -1)

    size = math.prod(shapes[k])
    origins = _moves(run, size)
    if origins is not None:
        row = np.flatnonzero(origins)
        return Matrix(np.ones(len(row), np.int64), row, origins[row] - 1, (offset.size, size))
    batch = max(1, _BATCH // max(size, offset.size))
    weights, rows, columns = [], [], []
    for start in range(0, size, batch):
        places = np.arange(start, min(start + batch, size))
        units = np.zeros((len(places), size), np.int64)
        units[np.arange(len(places)), places] = 1
        result = run(units)
        unit, row = np.nonzero(result)
        weights.append(result[unit, row])
        rows.append(row)
        columns.append(places[unit])
        if sum(map(len, rows)) > _LARGEST:
            raise BackendError(f"%{node.name} = {node.op} needs too many synapses", loc=node.loc)
    weight, row, column = (np.concatenate(parts) for parts in (weights, rows, columns))
    return Matrix(weight, row, column, (offset.size, size))


def _moves(run: Callable[[NDArray[np.int64]], Array], size: int) -> Array | None:
    """For each element of the result 1 + the element of the input that it is, or 0 for none.

    Returns None for an op that does more than move elements. That the guess from one run is
    right is tested on random values of 40 bits: a linear op that differs passes by a chance of
    at most 2^-40 in each of two runs.
    """
    source = run(np.arange(1, size + 1)[None])[0]
    if source.min(initial=0) < 0 or source.max(initial=0) > size:
        return None
    values = np.random.default_rng(0).integers(0, 1 << 40, (2, size + 1))
    values[:, 0] = 0
    return source if np.array_equal(run(values[:, 1:]), values[:, source]) else None


def _run(graph: Graph, node: Node, inputs: list[Array]) -> Array:
    return np.asarray(op_of(node).run(inputs, graph.arrays(node)))
