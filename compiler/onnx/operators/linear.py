"""Products with constant matrices."""

from __future__ import annotations

from typing import NoReturn

import numpy as np

from spikec.compiler.onnx.layout import dissolved, located, reshaped, settled
from spikec.compiler.onnx.node import OnnxNode
from spikec.compiler.onnx.operators import lowers
from spikec.compiler.onnx.operators.elementwise import add_all, align, expanded, scaled
from spikec.compiler.onnx.operators.shape import turned
from spikec.compiler.onnx.values import Constant, Tensor
from spikec.ir.op import AttrValue


@lowers("Gemm", layouts="kept")
def gemm(node: OnnxNode) -> Tensor:
    """`alpha * A B + beta * C` with data as A, transposed or not."""
    x, w = _samples_by_features(node), _gemm_weights(node) * float(node.attr("alpha", 1.0))
    if not node.has(2):
        return matrix_product(node, x, w)
    beta = float(node.attr("beta", 1.0))
    if node.is_constant(2):
        return matrix_product(node, x, w, align(node, node.weights(2) * beta, w.shape[1:]))
    y = matrix_product(node, x, w)
    return add_all(node, [y, scaled(node, expanded(node, node.tensor(2), y.shape), beta, 0.0)])


def _samples_by_features(node: OnnxNode) -> Tensor:
    if node.is_constant(0):
        node.refuse("the data is the right factor of the product", "transpose the product")
    x = node.tensor(0)
    if not node.attr("transA", 0):
        if x.batch:
            node.refuse(f"the batch is axis {x.batch} of its input", "keep it the first axis")
        return x
    node.batch = 0
    if x.batch == 1:
        return x
    x = settled(node, turned(node, dissolved(node, x), (1, 0)))
    node.batch = x.batch
    return x


def _gemm_weights(node: OnnxNode) -> Constant:
    if not node.is_constant(1):
        _refuse_product(node)
    w = node.weights(1)
    if w.ndim != 2:
        node.invalid(f"weights of rank {w.ndim}")
    return w.T if node.attr("transB", 0) else w


def _refuse_product(node: OnnxNode) -> NoReturn:
    node.refuse(
        "a product of two values that both depend on the data has no spiking form",
        "attention and other data-by-data products cannot be converted",
    )


@lowers("MatMul", layouts="kept")
def matmul(node: OnnxNode) -> Tensor:
    """A matrix product of data with constant weights, on either side."""
    if not node.is_constant(0) and not node.is_constant(1):
        _refuse_product(node)
    if node.is_constant(0):
        return _left_product(node, node.weights(0), node.tensor(1))
    x, w = node.tensor(0), node.weights(1)
    x, _ = located(node, x, [-1])
    node.batch = x.batch
    return matrix_product(node, x, w)


def _left_product(node: OnnxNode, w: Constant, x: Tensor) -> Tensor:
    """`w x`: the weights act on the last axis but one, or on the only one."""
    w = _plain_matrix(node, w)
    x, (axis,) = located(node, x, [-2 if x.rank > 1 else -1])
    node.batch = x.batch
    return along_axis(node, x, w, axis)


def _plain_matrix(node: OnnxNode, w: Constant) -> Constant:
    while w.ndim > 2 and w.shape[0] == 1:
        w = w[0]
    if w.ndim != 2:
        node.refuse(f"weights of shape {list(w.shape)} are a stack of matrices")
    return w


def matrix_product(node: OnnxNode, x: Tensor, w: Constant, bias: Constant | None = None) -> Tensor:
    """`x w` over the last axis of x: a dense layer, or the same one at every position."""
    if not x.shape:
        node.refuse("its input has no batch axis", "export with a batch axis")
    if w.ndim == 1:
        y = matrix_product(node, x, w.reshape(-1, 1), bias)
        return reshaped(node, y, y.shape[:-1])
    w = _plain_matrix(node, w)
    if x.shape[-1] != w.shape[0]:
        node.refuse(f"weights {list(w.shape)} do not fit an input of shape {list(x.shape)}")
    if len(x.shape) == 1:
        return dense(node, x, w, bias)
    y = along_axis(node, x, w.T, len(x.shape) - 1)
    return y if bias is None else scaled(node, y, 1.0, align(node, bias, y.shape))


def dense(node: OnnxNode, x: Tensor, w: Constant, bias: Constant | None = None) -> Tensor:
    """`x w + bias`, w of shape (in, out)."""
    params = {"w": w.T} | ({} if bias is None else {"b": np.broadcast_to(bias, w.shape[1:])})
    return node.emit("dense", [x], params=params)


def along_axis(node: OnnxNode, x: Tensor, w: Constant, axis: int) -> Tensor:
    """A matrix (out, in) applied along one axis: a convolution of one tap over the others."""
    rank = len(x.shape)
    if x.shape[axis] != w.shape[1]:
        node.refuse(f"weights {list(w.shape)} do not fit axis {axis + 1} of {list(x.shape)}")
    if rank == 1:
        return dense(node, x, w.T)
    front = (axis, *(a for a in range(rank) if a != axis))
    back = tuple(front.index(a) for a in range(rank))
    window: dict[str, AttrValue] = {
        "strides": (1,) * (rank - 1),
        "pads": (0,) * (2 * rank - 2),
        "dilations": (1,) * (rank - 1),
        "groups": 1,
    }
    moved = turned(node, x, front)
    kernel = w.reshape(*w.shape, *(1,) * (rank - 1))
    return turned(node, node.emit("conv", [moved], window, {"w": kernel}), back)
