"""Fused operators that onnxruntime's optimiser writes."""

from __future__ import annotations

import math

import numpy as np

from spikec.compiler.onnx.node import OnnxNode
from spikec.compiler.onnx.operators import lowers
from spikec.compiler.onnx.operators.activation import bounded, leaky
from spikec.compiler.onnx.operators.conv import convolution
from spikec.compiler.onnx.operators.elementwise import add_all, scaled
from spikec.compiler.onnx.operators.functions import pointwise
from spikec.compiler.onnx.operators.linear import gemm, matrix_product
from spikec.compiler.onnx.values import Tensor

_MS = "com.microsoft"


@lowers("FusedConv", domain=_MS)
def fused_conv(node: OnnxNode) -> Tensor:
    """`activation(conv(x) + z)`."""
    bias = node.weights(2) if node.has(2) else None
    y = convolution(node, node.tensor(0), node.weights(1), bias)
    if node.has(3):
        y = add_all(node, [y, node.tensor(3)])
    return _activated(node, y, node.floats("activation_params"))


@lowers("FusedGemm", domain=_MS)
def fused_gemm(node: OnnxNode) -> Tensor:
    """`activation(gemm(x))`."""
    y = gemm(node)
    return _activated(node, y, (node.attr("activation_alpha", 0.01),))


@lowers("FusedMatMul", domain=_MS)
def fused_matmul(node: OnnxNode) -> Tensor:
    """`alpha x w`, the weights transposed or not."""
    if node.attr("transA", 0) or node.is_constant(0):
        node.refuse("it transposes the data", "save the model before optimisation")
    w = node.weights(1)
    w = np.swapaxes(w, -1, -2) if node.attr("transB", 0) and w.ndim > 1 else w
    return scaled(node, matrix_product(node, node.tensor(0), w), node.attr("alpha", 1.0), 0.0)


def _activated(node: OnnxNode, y: Tensor, params: tuple[float, ...]) -> Tensor:
    """The activation that a fused operator names, with its parameters."""
    name = node.attr("activation", "")
    if name == "Relu":
        return bounded(node, y, 0.0, math.inf)
    if name == "Clip" and len(params) == 2:
        return bounded(node, y, *params)
    if name == "LeakyRelu" and params:
        return leaky(node, y, np.asarray(params[0]))
    if name in ("Sigmoid", "Tanh"):
        return pointwise(node, y, name.lower())
    if name:
        node.refuse(f"activation '{name}' is not supported", "save the model before optimisation")
    return y
