"""Chains of linear ops as one synapse."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from spikec.compiler.pipeline import Context, Pass, Record
from spikec.ir import Graph, Node, Param, remove_dead
from spikec.ir.ops.routing.reshape import Reshape
from spikec.ir.ops.routing.sum_pool import SumPool
from spikec.ir.ops.synapses.conv import Conv
from spikec.ir.ops.synapses.dense import Dense
from spikec.ir.types import Array
from spikec.ir.windows import Window

_LARGEST = 1 << 24
"""Weights that a composed synapse may have."""


@dataclass(frozen=True)
class Compose(Pass):
    """Put a sum over windows (average pooling) into the synapse that reads it, where that is exact.

    Hardware has no synapse that feeds a synapse. A convolution or a dense synapse behind a pooling
    becomes one with the pooling's taps; its weights are the same integers, each used at every tap.
    It stays as it is where padding would be seen by a pooling's window, or where overlapping
    windows would add up to weights that do not fit.
    """

    stages = ("int",)

    def run(self, graph: Graph, context: Context, record: Record) -> Graph:
        for node in graph.nodes:
            made = _composed(graph, node)
            if made is not None:
                nodes, params, pool = made
                changed = {new.name: new for new in nodes}
                graph = graph.with_nodes([changed.get(n.name, n) for n in graph.nodes], params)
                record.note(f"%{pool.name} is part of synapse %{node.name}")
        return remove_dead(graph)


def _composed(graph: Graph, node: Node) -> tuple[list[Node], dict[str, Param], Node] | None:
    """Nodes and params that replace a synapse behind a pooling, and the pooling."""
    op = node.operation
    if not isinstance(op, Conv | Dense):
        return None
    source = graph[node.inputs[0]]
    shaped = source if isinstance(source.operation, Reshape) else None
    pool = graph[shaped.inputs[0]] if shaped else source
    if not isinstance(pool.operation, SumPool):
        return None
    window, before = pool.operation.window, graph[pool.inputs[0]]
    if any(window.pads) or set(window.dilations) != {1}:
        return None
    weights = graph.params[node.params["w"]]
    w = graph.array(node, "w")
    if isinstance(op, Dense) and shaped:
        wide = _spread_taps(w.reshape(len(w), *pool.type.shape), window, before.type.shape[1:])
        taken = before.type.size
        flat = replace(before.type, shape=(taken,))
        middle = replace(shaped, inputs=(before.name,), operation=Reshape((taken,)), type=flat)
        others = [r for r in graph.readers[shaped.name] if r.name != node.name]
        nodes, made = [middle, node], wide.reshape(len(w), taken)
        fits = not others and shaped.name not in graph.outputs
    elif isinstance(op, Conv) and not shaped:
        conv = op.window(w.shape[2:])
        made, pooled = _into_convolution(w, op, conv, window)
        nodes = [replace(node, inputs=(before.name,), operation=pooled)]
        size = (n * s for n, s in zip(pool.type.shape[1:], window.strides, strict=True))
        tiled = window.kernel == window.strides and tuple(size) == before.type.shape[1:]
        fits = tiled or not any(conv.pads)
    else:
        return None
    low, high = weights.type.dtype.bounds
    if not fits or made.size > _LARGEST or made.min() < low or made.max() > high:
        return None
    name = f"{node.name}.w"
    param = Param.of(made.astype(w.dtype), weights.type.dtype)
    nodes[-1] = replace(nodes[-1], params={**node.params, "w": name})
    return nodes, {name: param}, pool


def _into_convolution(w: Array, op: Conv, conv: Window, pool: Window) -> tuple[Array, Conv]:
    """Weights and op of the convolution that pools first."""
    spread = [d * (k - 1) + 1 for k, d in zip(conv.kernel, conv.dilations, strict=True)]
    dilated = np.zeros((*w.shape[:2], *spread), np.int64)
    every: Any = tuple(slice(None, None, d) for d in conv.dilations)
    dilated[(..., *every)] = w
    kernel = [(n - 1) * s + k for n, s, k in zip(spread, pool.strides, pool.kernel, strict=True)]
    strides = pool.strides
    pooled = replace(
        op,
        strides=tuple(a * b for a, b in zip(conv.strides, strides, strict=True)),
        pads=tuple(p * s for p, s in zip(conv.pads, strides * 2, strict=True)),
        dilations=(1,) * len(strides),
    )
    return _spread_taps(dilated, pool, tuple(kernel)), pooled


def _spread_taps(w: Array, pool: Window, size: tuple[int, ...]) -> Array:
    """Weights on sums as weights on their terms: w (out, in, *sums) -> (out, in, *size)."""
    wide = np.zeros((*w.shape[:2], *size), np.int64)
    for tap in np.ndindex(*pool.kernel):
        places = zip(tap, w.shape[2:], pool.strides, strict=True)
        here: Any = tuple(slice(t, t + (n - 1) * s + 1, s) for t, n, s in places)
        wide[(..., *here)] += w
    return wide
