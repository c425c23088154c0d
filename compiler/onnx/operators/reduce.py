"""Sums, means and maxima along axes."""

from __future__ import annotations

import math

from spikec.compiler.onnx.node import OnnxNode
from spikec.compiler.onnx.operators import lowers
from spikec.compiler.onnx.operators.elementwise import scaled
from spikec.compiler.onnx.operators.linear import turned
from spikec.compiler.onnx.operators.pool import global_window
from spikec.compiler.onnx.operators.shape import reshaped
from spikec.compiler.onnx.values import Tensor


@lowers("ReduceSum", "ReduceMean", "ReduceMax", "ReduceMin")
def reduce(node: OnnxNode) -> Tensor:
    """A sum, mean or maximum along axes; the axes stay with size 1 or are dropped."""
    x = node.tensor()
    axes = _axes(node, x)
    if not axes:
        return x
    count = math.prod(x.shape[axis] for axis in axes)
    kind = node.proto.op_type
    if kind in ("ReduceMax", "ReduceMin"):
        sign = 1.0 if kind == "ReduceMax" else -1.0
        y = scaled(node, _maximum(node, scaled(node, x, sign, 0.0), axes), sign, 0.0)
    else:
        y = scaled(node, _total(node, x, axes), 1 / count if kind == "ReduceMean" else 1.0, 0.0)
    if node.attr("keepdims", 1):
        return y
    return reshaped(node, y, tuple(n for axis, n in enumerate(x.shape) if axis not in axes))


def _axes(node: OnnxNode, x: Tensor) -> tuple[int, ...]:
    """Axes per sample, sorted."""
    given = node.attr("axes", ())
    if not given and node.has(1):
        given = node.integers(1)
    rank = len(x.shape) + 1
    if not given:
        if node.attr("noop_with_empty_axes", 0):
            return ()
        node.refuse("it reduces all axes, the batch included", "name the axes to reduce")
    return tuple(sorted({node.axis(axis, rank) for axis in given}))


def _total(node: OnnxNode, x: Tensor, axes: tuple[int, ...]) -> Tensor:
    if axes == tuple(range(1, len(x.shape))) and axes:
        return node.emit("sum_pool", [x], global_window(node, x))
    return node.emit("reduce_sum", [x], {"axes": axes})


def _maximum(node: OnnxNode, x: Tensor, axes: tuple[int, ...]) -> Tensor:
    """The maximum along some axes, by pooling with another axis in front."""
    others = tuple(axis for axis in range(len(x.shape)) if axis not in axes)
    front = (*others, *axes)
    moved = turned(node, x, front)
    channels = math.prod(x.shape[axis] for axis in others)
    flat = reshaped(node, moved, (channels, math.prod(x.shape[axis] for axis in axes)))
    best = node.emit("max_pool", [flat], global_window(node, flat))
    return reshaped(node, best, tuple(1 if a in axes else n for a, n in enumerate(x.shape)))
