"""Products with constant matrices."""

from __future__ import annotations

import math
import string
from dataclasses import replace

import numpy as np

from spikec.compiler.onnx.layout import dissolved, full_shape, located, reshaped, settled
from spikec.compiler.onnx.node import OnnxNode
from spikec.compiler.onnx.operators import lowers
from spikec.compiler.onnx.operators.elementwise import add_all, align, broadcast, scaled
from spikec.compiler.onnx.operators.shape import turned
from spikec.compiler.onnx.products import refuse_product
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
    y = replace(matrix_product(node, x, w), batch=node.batch)
    y, more = broadcast(node, [y, node.tensor(2)])
    return add_all(node, [y, scaled(node, more, beta, 0.0)])


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
        refuse_product(node)
    w = node.weights(1)
    if w.ndim != 2:
        node.invalid(f"weights of rank {w.ndim}")
    return w.T if node.attr("transB", 0) else w


@lowers("MatMul", layouts="kept")
def matmul(node: OnnxNode) -> Tensor:
    """A matrix product of data with constant weights, on either side."""
    if not node.is_constant(0) and not node.is_constant(1):
        refuse_product(node)
    if node.is_constant(0):
        return _left_product(node, node.weights(0), node.tensor(1))
    x, w = node.tensor(0), node.weights(1)
    if _is_stack(w):
        y = _stack_product(node, x, w)
        node.batch = y.batch
        return y
    x, _ = located(node, x, [-1])
    node.batch = x.batch
    return matrix_product(node, x, w)


def _is_stack(w: Constant) -> bool:
    return any(size > 1 for size in w.shape[:-2])


def _stack_product(node: OnnxNode, x: Tensor, w: Constant) -> Tensor:
    """`x w` for a stack of matrices, each for its part of x."""
    rank = x.rank
    while w.shape[0] == 1:
        w = w[0]
    if w.ndim > rank or rank < 2:
        node.refuse(f"weights of shape {list(w.shape)} are a stack of matrices")
    axes = string.ascii_lowercase[:rank]
    stack = axes[rank - w.ndim : -2]
    full = full_shape(x, node.scope.batch)
    fits = all(m in (1, n) for m, n in zip(w.shape[:-2], full[rank - w.ndim : -2], strict=True))
    if not fits:
        node.refuse(f"weights {list(w.shape)} do not fit a value of shape {list(full)}")
    long = [a for a, size in zip(stack, w.shape, strict=False) if size > 1]
    w = w.reshape(*(size for size in w.shape[:-2] if size > 1), *w.shape[-2:])
    return contraction(node, x, axes, w, f"{''.join(long)}{axes[-1]}z", f"{axes[:-1]}z")


@lowers("Einsum", layouts="read")
def einsum(node: OnnxNode) -> Tensor:
    """Sums of products with one constant."""
    equation = node.attr("equation", "").replace(" ", "")
    left, arrow, output = equation.partition("->")
    terms = left.split(",")
    if len(terms) != 2 or not arrow or "." in equation:
        node.refuse(f"equation '{equation}' is not supported", "write it as MatMul")
    if not node.is_constant(0) and not node.is_constant(1):
        refuse_product(node)
    data = int(node.is_constant(0))
    x, w = node.tensor(data), node.weights(1 - data)
    if x.rank != len(terms[data]) or w.ndim != len(terms[1 - data]):
        node.invalid(f"equation '{equation}' does not fit its inputs")
    return contraction(node, x, terms[data], w, terms[1 - data], output)


def contraction(
    node: OnnxNode, x: Tensor, axes: str, w: Constant, weight_axes: str, output: str
) -> Tensor:
    """A sum of products of data and weights, as `einsum` writes it: one letter an ONNX axis."""
    used = set(axes) | set(weight_axes)
    repeats = any(len(set(names)) < len(names) for names in (axes, weight_axes, output))
    if repeats or not set(output) <= used or set(axes) - set(weight_axes) - set(output):
        node.refuse(f"a product of {axes} and {weight_axes} to {output} is not supported")
    batch = "" if x.batch is None else axes[x.batch]
    if batch and (batch in weight_axes or batch not in output):
        x, batch = dissolved(node, x), ""
    w = w.sum(axis=tuple(i for i, a in enumerate(weight_axes) if a not in axes + output))
    weight_axes = "".join(a for a in weight_axes if a in axes + output)
    own = axes.replace(batch, "") if batch else axes
    shared = [a for a in own if a in weight_axes and a in output]
    summed = [a for a in own if a in weight_axes and a not in output]
    kept = [a for a in weight_axes if a not in own]
    rest = [a for a in own if a not in weight_axes]
    size = dict(zip(own, x.shape, strict=True)) | dict(zip(weight_axes, w.shape, strict=True))
    groups, inputs, outputs, positions = (
        math.prod(size[a] for a in part) for part in (shared, summed, kept, rest)
    )
    moved = turned(node, x, [own.index(a) for a in (*shared, *summed, *rest)])
    flat = reshaped(node, replace(moved, batch=0), (groups * inputs, positions))
    order = [weight_axes.index(a) for a in (*shared, *kept, *summed)]
    kernel = w.transpose(order).reshape(groups * outputs, inputs, 1)
    if groups == positions == 1:
        y = dense(node, reshaped(node, flat, (inputs,)), kernel[..., 0].T)
    else:
        window: dict[str, AttrValue] = {"strides": (1,), "pads": (0, 0), "dilations": (1,)}
        y = node.emit("conv", [flat], {**window, "groups": groups}, {"w": kernel})
    made = [*shared, *kept, *rest]
    y = reshaped(node, y, tuple(size[a] for a in made))
    y = turned(node, y, [made.index(a) for a in output if a != batch])
    return settled(node, replace(y, batch=output.index(batch) if batch else None))


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
