"""Linear operations as terms of a sum."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from spikec.backends.lowering.records import Axis, Integers, Term, Value
from spikec.ir import BackendError, Graph, Node, op_of, spread
from spikec.ir.exact import LARGEST, magnitude
from spikec.ir.ops.routing.reduce_sum import ReduceSum
from spikec.ir.ops.routing.sum_pool import SumPool
from spikec.ir.ops.synapses.conv import Conv
from spikec.ir.ops.synapses.conv_transpose import ConvTranspose
from spikec.ir.types import Array
from spikec.ir.windows import Window


def constant(array: Array, shape: tuple[int, ...]) -> Integers:
    """A param per tensor, per channel or per neuron as (channels,), or (*shape) where needed."""
    if not shape:
        return array.astype(np.int64).reshape(1)
    full = np.broadcast_to(spread(array, shape), shape).astype(np.int64)
    rows = full.reshape(shape[0], -1)
    return rows[:, 0].copy() if (rows == rows[:, :1]).all() else full


def _weights(graph: Graph, node: Node) -> Integers:
    """A synapse's weights with their exponents; raises BackendError beyond 62 bits."""
    w = graph.weights(node)
    if magnitude(w) >= LARGEST:
        raise BackendError(f"%{node.name} = {node.op} has weights beyond 62 bits", loc=node.loc)
    return w.astype(np.int64)


def identity(node: Node, source: Value) -> Term:
    """The source itself."""
    axes = tuple(Axis(size, size) for size in source.space)
    return Term(node.name, source, axes, source.channels, source.channels, None)


def windowed(window: Window, source: Value, space: tuple[int, ...]) -> tuple[Axis, ...]:
    """The axes of a sliding window."""
    parts = zip(
        source.space,
        space,
        window.kernel,
        window.strides,
        window.dilations,
        window.pads,
        strict=False,
    )
    return tuple(Axis(*part) for part in parts) or (Axis(),)


def _conv(graph: Graph, node: Node, source: Value) -> Term:
    w, op = _weights(graph, node), op_of(node, Conv)
    axes = windowed(op.window(w.shape[2:]), source, node.type.shape[1:])
    return Term(node.name, source, axes, len(w), op.groups, w)


def _conv_transpose(graph: Graph, node: Node, source: Value) -> Term:
    """Each result gathers what the taps scatter to it: `y[o] += w[k] x[(o + pad - d k) / s]`."""
    w, op = _weights(graph, node), op_of(node, ConvTranspose)
    groups, window = op.groups, op.window(w.shape[2:])
    axes = tuple(
        Axis(size, out, taps, 1, dilation, dilation * (taps - 1) - pad, stride)
        for size, out, taps, stride, dilation, pad in zip(
            source.space,
            node.type.shape[1:],
            window.kernel,
            window.strides,
            window.dilations,
            window.pads,
            strict=False,
        )
    )
    parts = w.reshape(groups, w.shape[0] // groups, *w.shape[1:]).swapaxes(1, 2)
    turned = parts.reshape(groups * w.shape[1], w.shape[0] // groups, *w.shape[2:])
    turned = np.flip(turned, tuple(range(2, turned.ndim)))
    return Term(node.name, source, axes, len(turned), groups, turned)


def _dense(graph: Graph, node: Node, source: Value) -> Term:
    """All elements of the source, in row-major order, each with a weight."""
    w = _weights(graph, node)
    axes = tuple(Axis(size, 1, size) for size in source.space)
    weights = w.reshape(len(w), source.channels, *source.space)
    return Term(node.name, source, axes, len(w), 1, weights)


def _affine(graph: Graph, node: Node, source: Value) -> Term:
    axes = tuple(Axis(size, size) for size in source.space)
    w = constant(_weights(graph, node), source.shape)
    local = w.ndim > 1
    shape = w.shape if local else (*w.shape, 1, *(1 for _ in axes))
    groups = source.channels
    return Term(node.name, source, axes, groups, groups, w.reshape(shape), local)


def _sum_pool(graph: Graph, node: Node, source: Value) -> Term:
    axes = windowed(op_of(node, SumPool).window, source, node.type.shape[1:])
    return Term(node.name, source, axes, source.channels, source.channels, None)


def _reduce_sum(graph: Graph, node: Node, source: Value) -> Term:
    summed = op_of(node, ReduceSum).axes
    axes = tuple(
        Axis(size, 1, size) if number in summed else Axis(size, size)
        for number, size in enumerate(source.space, 1)
    )
    if 0 not in summed:
        return Term(node.name, source, axes, source.channels, source.channels, None)
    ones = np.ones((1, source.channels, *(axis.taps for axis in axes)), np.int64)
    return Term(node.name, source, axes, 1, 1, ones)


SYNAPSES: dict[str, Callable[[Graph, Node, Value], Term]] = {
    "affine": _affine,
    "conv": _conv,
    "conv_transpose": _conv_transpose,
    "dense": _dense,
    "reduce_sum": _reduce_sum,
    "sum_pool": _sum_pool,
}
"""What makes a term of a linear node and the value that it reads."""
