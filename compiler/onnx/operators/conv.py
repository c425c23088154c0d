"""Conv and ConvTranspose."""

from __future__ import annotations

from spikec.compiler.onnx.layout import batch_first
from spikec.compiler.onnx.node import OnnxNode
from spikec.compiler.onnx.operators import lowers
from spikec.compiler.onnx.operators.reduce_window import sum_over_axes
from spikec.compiler.onnx.operators.window import transposed_attrs, window_attrs
from spikec.compiler.onnx.values import Constant, Tensor


@lowers("Conv", layouts="read")
def conv(node: OnnxNode) -> Tensor:
    """Convolution with any strides, pads, dilations and groups."""
    bias = node.weights(2) if node.has(2) else None
    x = node.tensor()
    if (x.batch or 0) > 1 and not node.scope.is_single:
        return sum_over_axes(node, node.weights(1), bias)
    return convolution(node, batch_first(node, x), node.weights(1), bias)


def convolution(node: OnnxNode, x: Tensor, w: Constant, bias: Constant | None) -> Tensor:
    """Convolution by the attributes of a node."""
    _check_kernel(node, x, w)
    attrs = window_attrs(node, x.shape[1:], w.shape[2:])
    params = {"w": w} | ({} if bias is None else {"b": bias})
    return node.emit("conv", [x], {**attrs, "groups": node.attr("group", 1)}, params)


def _check_kernel(node: OnnxNode, x: Tensor, w: Constant) -> None:
    if w.ndim < 3 or len(x.shape) != w.ndim - 1:
        node.refuse(f"weights of rank {w.ndim} do not fit an input of rank {len(x.shape) + 1}")
    kernel = node.attr("kernel_shape", w.shape[2:])
    if tuple(kernel) != w.shape[2:]:
        node.refuse(f"kernel_shape {list(kernel)} contradicts the weights {list(w.shape)}")


@lowers("ConvTranspose")
def conv_transpose(node: OnnxNode) -> Tensor:
    """Transposed convolution with any strides, pads, dilations and groups."""
    x, w = node.tensor(0), node.weights(1)
    _check_kernel(node, x, w)
    attrs = transposed_attrs(node, x.shape[1:], w.shape[2:])
    params = {"w": w} | ({"b": node.weights(2)} if node.has(2) else {})
    return node.emit("conv_transpose", [x], {**attrs, "groups": node.attr("group", 1)}, params)
