"""Sums, means and maxima along axes."""

from __future__ import annotations

import math
from dataclasses import replace

from spikec.compiler.onnx.layout import located, reshaped, settled
from spikec.compiler.onnx.node import OnnxNode
from spikec.compiler.onnx.operators import lowers
from spikec.compiler.onnx.operators.activation import absolute
from spikec.compiler.onnx.operators.elementwise import scaled
from spikec.compiler.onnx.operators.functions import pointwise
from spikec.compiler.onnx.operators.pool import global_window
from spikec.compiler.onnx.operators.shape import turned
from spikec.compiler.onnx.values import Tensor

_FUNCTIONS = {
    "ReduceL2": ("power", "sqrt"),
    "ReduceSumSquare": ("power", ""),
    "ReduceLogSum": ("", "log"),
    "ReduceLogSumExp": ("exp", "log"),
}
"""Functions before and after the sum, by operator; the power is 2."""


@lowers("ReduceSum", "ReduceMean", "ReduceMax", "ReduceMin", "ReduceL1", layouts="read")
@lowers(*_FUNCTIONS, layouts="read")
def reduce(node: OnnxNode) -> Tensor:
    """A sum, mean, norm or maximum along axes; the axes stay with size 1 or are dropped."""
    x, kind = node.tensor(), node.proto.op_type
    before, after = _FUNCTIONS.get(kind, ("", ""))
    if before:
        x = replace(pointwise(node, x, before, 2.0), batch=x.batch)
    if kind == "ReduceL1":
        x = replace(absolute(node), batch=x.batch)
    y = _reduced(node, x)
    return replace(pointwise(node, y, after), batch=y.batch) if after else y


def _reduced(node: OnnxNode, x: Tensor) -> Tensor:
    given = _axes(node, x)
    if not given:
        return x
    dropped = {axis % x.rank for axis in given}
    x, places = located(node, x, given)
    axes = tuple(sorted(set(places)))
    count = math.prod(x.shape[axis] for axis in axes)
    kind = node.proto.op_type
    if kind in ("ReduceMax", "ReduceMin"):
        sign = 1.0 if kind == "ReduceMax" else -1.0
        y = scaled(node, _maximum(node, scaled(node, x, sign, 0.0), axes), sign, 0.0)
    else:
        y = scaled(node, _total(node, x, axes), 1 / count if kind == "ReduceMean" else 1.0, 0.0)
    y, batch = replace(y, batch=x.batch), x.batch
    if not node.attr("keepdims", 1):
        y = reshaped(node, y, tuple(n for axis, n in enumerate(x.shape) if axis not in axes))
        batch = None if batch is None else batch - sum(axis < batch for axis in dropped)
    return settled(node, replace(y, batch=batch))


def _axes(node: OnnxNode, x: Tensor) -> tuple[int, ...]:
    """The ONNX axes that are reduced."""
    given = node.attr("axes", ())
    if not given and node.has(1):
        given = node.integers(1)
    if not given and not node.attr("noop_with_empty_axes", 0):
        if not node.scope.is_single:
            node.refuse("it reduces all axes, the batch included", "name the axes to reduce")
        return tuple(range(x.rank))
    return tuple(given)


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
