"""Operators that compute on integers: QLinear*, *Integer and onnxruntime's own."""

from __future__ import annotations

import numpy as np

from spikec.compiler.onnx.grid import off_grid
from spikec.compiler.onnx.node import OnnxNode
from spikec.compiler.onnx.operators import lowers
from spikec.compiler.onnx.operators.activation import leaky
from spikec.compiler.onnx.operators.conv import convolution
from spikec.compiler.onnx.operators.elementwise import add_all, align, scaled, widened
from spikec.compiler.onnx.operators.functions import pointwise
from spikec.compiler.onnx.operators.linear import matrix_product
from spikec.compiler.onnx.operators.pool import average_pool, global_average_pool
from spikec.compiler.onnx.operators.quantize import real, real_weights, requantised
from spikec.compiler.onnx.operators.routing import joined
from spikec.compiler.onnx.operators.shape import turned
from spikec.compiler.onnx.products import refuse_product
from spikec.compiler.onnx.values import Constant, Grid, Tensor

_MS = "com.microsoft"


def _unit_bias(node: OnnxNode, index: int, x_scale: int, w_scale: int) -> Constant | None:
    """An int32 bias in units of input scale times weight scale, as reals."""
    if not node.has(index):
        return None
    units = node.weights(x_scale).reshape(-1) * node.weights(w_scale).reshape(-1)
    return np.asarray(node.weights(index).reshape(-1) * units)


@lowers("QLinearConv", integers="read")
def qlinear_conv(node: OnnxNode) -> Tensor:
    """Convolution of integers, its result on a grid."""
    bias = _unit_bias(node, 8, 1, 4)
    y = convolution(node, real(node, 0), real_weights(node, 3, 0), bias)
    return requantised(node, y, 6)


@lowers("QLinearMatMul", integers="read")
@lowers("QLinearMatMul", domain=_MS, integers="read")
def qlinear_matmul(node: OnnxNode) -> Tensor:
    """Matrix product of integers, its result on a grid."""
    y = matrix_product(node, real(node, 0), real_weights(node, 3, -1))
    return requantised(node, y, 6)


@lowers("QGemm", domain=_MS, integers="read")
def qgemm(node: OnnxNode) -> Tensor:
    """Gemm of integers; its result on a grid, or real where no scale is given."""
    if node.attr("transA", 0):
        node.refuse("transA mixes samples of a batch")
    transposed = node.attr("transB", 0)
    w = real_weights(node, 3, 0 if transposed else 1)
    w = (w.T if transposed else w) * float(node.attr("alpha", 1.0))
    bias = _unit_bias(node, 6, 1, 4)
    if bias is not None:
        bias = bias * float(node.attr("alpha", 1.0))
    y = matrix_product(node, real(node, 0), w, bias)
    return requantised(node, y, 7) if node.has(7) else y


@lowers("QLinearAdd", domain=_MS, integers="read")
def qlinear_add(node: OnnxNode) -> Tensor:
    """A sum of integers of two grids, on a third."""
    if node.is_constant(0) or node.is_constant(3):
        data = 3 if node.is_constant(0) else 0
        x, constant = real(node, data), real_weights(node, 3 - data, 0)
        return requantised(node, scaled(node, x, 1.0, align(node, constant, x.shape)), 6)
    return requantised(node, add_all(node, widened(node, [real(node, 0), real(node, 3)])), 6)


@lowers("QLinearMul", domain=_MS, integers="read")
def qlinear_mul(node: OnnxNode) -> Tensor:
    """A product of integers with constants."""
    if not node.is_constant(0) and not node.is_constant(3):
        refuse_product(node, real(node, 0), real(node, 3))
    data = 3 if node.is_constant(0) else 0
    x, constant = real(node, data), real_weights(node, 3 - data, 0)
    return requantised(node, scaled(node, x, align(node, constant, x.shape), 0.0), 6)


@lowers("QLinearConcat", domain=_MS, integers="read")
def qlinear_concat(node: OnnxNode) -> Tensor:
    """Integers of several grids one after the other, on one grid."""
    parts = [real(node, index) for index in range(2, len(node.proto.input), 3)]
    return requantised(node, joined(node, parts, node.attr("axis", 0)), 0)


@lowers("QLinearAveragePool", "QLinearGlobalAveragePool", domain=_MS, integers="read")
def qlinear_average(node: OnnxNode) -> Tensor:
    """A mean of integers, on another grid."""
    pool = average_pool if node.key[1] == "QLinearAveragePool" else global_average_pool
    x, rank = real(node, 0), len(node.tensor().shape)
    if not node.attr("channels_last", 0):
        return requantised(node, pool(node, x), 3)
    y = pool(node, turned(node, x, (rank - 1, *range(rank - 1))))
    return requantised(node, turned(node, y, (*range(1, rank), 0)), 3)


@lowers("QLinearLeakyRelu", domain=_MS, integers="read")
def qlinear_leaky_relu(node: OnnxNode) -> Tensor:
    """LeakyRelu of integers, on another grid."""
    slope = np.asarray(float(node.attr("alpha", 0.01)))
    return requantised(node, leaky(node, real(node, 0), slope), 3)


@lowers("QLinearSigmoid", domain=_MS, integers="read")
def qlinear_sigmoid(node: OnnxNode) -> Tensor:
    """Sigmoid of integers, on another grid."""
    return requantised(node, pointwise(node, real(node, 0), "sigmoid"), 3)


def _shifted(node: OnnxNode, index: int) -> Tensor:
    """The integers of the first input minus its zero point."""
    zero = node.weights(index) if node.has(index) else np.zeros((), np.float32)
    x = off_grid(node, node.tensor())
    return scaled(node, x, 1.0, -align(node, zero, x.shape)) if zero.any() else x


@lowers("ConvInteger", integers="read")
def conv_integer(node: OnnxNode) -> Tensor:
    """Convolution of integers without a grid."""
    w = node.weights(1)
    zero = node.weights(3) if node.has(3) else np.zeros((), np.float32)
    w = w - zero.reshape(-1, *(1,) * (w.ndim - 1))
    return _plain(convolution(node, _shifted(node, 2), w, None))


@lowers("MatMulInteger", integers="read")
def matmul_integer(node: OnnxNode) -> Tensor:
    """Matrix product of integers without a grid."""
    zero = node.weights(3) if node.has(3) else np.zeros((), np.float32)
    return _plain(matrix_product(node, _shifted(node, 2), node.weights(1) - zero))


def _plain(y: Tensor) -> Tensor:
    return Tensor(y.name, y.shape, grid=Grid())


@lowers("MatMulIntegerToFloat", domain=_MS, integers="read")
def matmul_integer_to_float(node: OnnxNode) -> Tensor:
    """Matrix product of integers, scaled to reals."""
    zero = node.weights(5) if node.has(5) else np.zeros((), np.float32)
    w = (node.weights(1) - zero) * node.weights(3) * node.weights(2)
    bias = node.weights(6) if node.has(6) else None
    return matrix_product(node, _shifted(node, 4), w, bias)


@lowers("DynamicQuantizeMatMul", domain=_MS)
def dynamic_quantize_matmul(node: OnnxNode) -> Tensor:
    """Matrix product with dynamic quantisation, imported without that rounding."""
    node.scope.notes.append(
        "activations are quantised dynamically in the model; imported without that rounding"
    )
    zero = node.weights(3) if node.has(3) else np.zeros((), np.float32)
    w = (node.weights(1) - zero) * node.weights(2)
    return matrix_product(node, node.tensor(), w, node.weights(4) if node.has(4) else None)
