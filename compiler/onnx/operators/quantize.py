"""Quantisers and quantised operators.

Integers of the model are carried as the reals that they stand for (`Grid`): QuantizeLinear
becomes a quantiser of reals, DequantizeLinear nothing.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import onnx

from spikec.compiler.onnx.grid import off_grid, spread_grid
from spikec.compiler.onnx.layout import located
from spikec.compiler.onnx.node import OnnxNode
from spikec.compiler.onnx.operators import folds, lowers
from spikec.compiler.onnx.operators.elementwise import scaled
from spikec.compiler.onnx.operators.quantiser import quantised
from spikec.compiler.onnx.values import Constant, Grid, Tensor, Value


def grid_of(node: OnnxNode, x: Tensor, index: int) -> Grid:
    """The grid that inputs `index` (scale) and `index + 1` (zero point) describe."""
    scale = node.weights(index).astype(np.float32)
    zero = node.constant(index + 1) if node.has(index + 1) else np.zeros(scale.shape, np.uint8)
    if scale.size == 1:
        scale, zero = scale.reshape(()), zero.reshape(())
    if (scale <= 0).any():
        node.invalid("a scale is not positive")
    if scale.ndim > 1 or zero.shape not in (scale.shape, (), (1,)):
        node.refuse(f"scale {list(scale.shape)} and zero point {list(zero.shape)} do not fit")
    axis = 0
    if scale.size > 1:
        _, (axis,) = located(node, x, [node.attr("axis", 1)])
        if x.shape[axis] != scale.size:
            node.refuse(f"{scale.size} scales do not fit axis {axis + 1} of {list(x.shape)}")
    count = max(scale.size, zero.size)
    scales = tuple(float(s) for s in np.broadcast_to(scale.reshape(-1), (count,)))
    zeros = tuple(int(z) for z in np.broadcast_to(zero.reshape(-1), (count,)))
    return Grid(scales, zeros, axis)


def bounds_of(node: OnnxNode, dtype: np.dtype[Any]) -> tuple[int, int]:
    """Smallest and largest integer of an element type."""
    name = dtype.name
    if not name.lstrip("u").startswith("int"):
        node.refuse(f"quantisation to {name} is not supported")
    bits = int(name.lstrip("u").removeprefix("int"))
    if name.startswith("u"):
        return 0, (1 << bits) - 1
    return -(1 << (bits - 1)), (1 << (bits - 1)) - 1


def requantised(node: OnnxNode, x: Tensor, index: int) -> Tensor:
    """`x` on the grid of inputs `index` and `index + 1`, which the node yields."""
    zero = node.constant(index + 1) if node.has(index + 1) else np.zeros((), np.uint8)
    return quantised(node, x, grid_of(node, x, index), bounds_of(node, zero.dtype))


@lowers("QuantizeLinear", layouts="kept", tail=True)
@lowers("QuantizeLinear", domain="com.microsoft", layouts="kept", tail=True)
def quantize_linear(node: OnnxNode) -> Tensor:
    """To the nearest integer of a grid, half to even."""
    x = node.tensor()
    kind = node.attr("output_dtype", 0)
    if node.has(2) or not kind:
        return requantised(node, x, 1)
    dtype = np.dtype(onnx.helper.tensor_dtype_to_np_dtype(kind))
    return quantised(node, x, grid_of(node, x, 1), bounds_of(node, dtype))


@lowers("DequantizeLinear", integers="read", layouts="kept", tail=True)
@lowers("DequantizeLinear", domain="com.microsoft", integers="read", layouts="kept", tail=True)
def dequantize_linear(node: OnnxNode) -> Tensor:
    """The reals that integers stand for."""
    return real(node, 0)


def real(node: OnnxNode, index: int) -> Tensor:
    """Input `index` as reals, on the grid that the next two inputs describe."""
    x = node.tensor(index)
    grid = grid_of(node, x, index + 1)
    if x.grid is None:
        node.refuse("it dequantises what is no integer")
    if x.grid == grid:
        return replace(x, grid=None)
    scale, zero = spread_grid(grid, len(x.shape))
    return scaled(node, off_grid(node, x), scale, -zero * scale)


def real_weights(node: OnnxNode, index: int, axis: int) -> Constant:
    """Constant input `index` as reals, by the scale and zero point that follow it."""
    w, scale = node.weights(index), node.weights(index + 1)
    zero = node.weights(index + 2) if node.has(index + 2) else np.zeros_like(scale)
    return (w - _along(zero, axis, w.ndim)) * _along(scale, axis, w.ndim)


def _along(array: Constant, axis: int, rank: int) -> Constant:
    if array.size == 1:
        return array.reshape(())
    return array.reshape(tuple(-1 if a == axis % rank else 1 for a in range(rank)))


@folds("DequantizeLinear")
@folds("DequantizeLinear", domain="com.microsoft")
def fold_dequantize(node: OnnxNode) -> Constant:
    """DequantizeLinear of constants, per tensor, axis or block."""
    x, scale = node.weights(0), node.weights(1)
    zero = node.weights(2) if node.has(2) else np.zeros_like(scale)
    axis, block = node.attr("axis", 1), node.attr("block_size", 0)
    return (x - _over(x, zero, axis, block)) * _over(x, scale, axis, block)


@folds("QuantizeLinear")
@folds("QuantizeLinear", domain="com.microsoft")
def fold_quantize(node: OnnxNode) -> Constant:
    """QuantizeLinear of constants."""
    x, scale = node.weights(0), node.weights(1)
    zero = node.constant(2) if node.has(2) else np.zeros(scale.shape, np.uint8)
    if (scale <= 0).any():
        node.invalid("a scale is not positive")
    axis, block = node.attr("axis", 1), node.attr("block_size", 0)
    offset = _over(x, zero.astype(np.float32), axis, block)
    integers = np.rint(x / _over(x, scale, axis, block)) + offset
    return integers.clip(*bounds_of(node, zero.dtype)).astype(zero.dtype)


def _over(x: Constant, factors: Constant, axis: int, block: int) -> Constant:
    """Scales or zero points so that they broadcast to x."""
    if block and factors.ndim == x.ndim:
        return factors.repeat(block, axis=axis)
    return _along(factors, axis, x.ndim)


@lowers("DynamicQuantizeLinear", layouts="kept")
def dynamic_quantize(node: OnnxNode) -> list[Value]:
    """Imported without its rounding, whose scale depends on the data."""
    if {info.name for info in node.scope.model.graph.output} & set(node.proto.output):
        node.refuse("an output holds integers whose scale depends on the data")
    node.scope.notes.append(
        "activations are quantised dynamically in the model; imported without that rounding"
    )
    x = replace(node.tensor(), grid=Grid())
    return [x, np.array(1.0, np.float32), np.array(0, np.uint8)]
