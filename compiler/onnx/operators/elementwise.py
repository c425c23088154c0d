"""Arithmetic element by element: with constants it is affine, between values only sums are."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from spikec.compiler.onnx.layout import dissolved, reshaped
from spikec.compiler.onnx.node import OnnxNode
from spikec.compiler.onnx.operators import lowers
from spikec.compiler.onnx.operators.functions import is_length, product, quotient
from spikec.compiler.onnx.operators.tail import cut
from spikec.compiler.onnx.values import Tensor
from spikec.ir.types import Array

Weights = Array


def align(node: OnnxNode, constant: Weights, shape: tuple[int, ...]) -> Weights:
    """A constant as param of a value of `shape`: (), (channels,) or of the value's rank."""
    per_sample = _without_batch(node, constant, len(shape))
    fits = all(have in (1, want) for have, want in zip(per_sample.shape, shape, strict=True))
    if not fits:
        node.refuse(f"constant of shape {list(constant.shape)} does not broadcast to {list(shape)}")
    if per_sample.size == 1:
        return per_sample.reshape(())
    if per_sample.size == shape[0] == per_sample.shape[0]:
        return per_sample.reshape(-1)
    return per_sample


def _without_batch(node: OnnxNode, constant: Weights, axes: int) -> Weights:
    """A constant that meets a value of some axes per sample, with as many."""
    full = _batch_first(node, constant, axes)
    if node.batch is None:
        return full
    if full.shape[0] not in (1, node.scope.batch) or (full != full[:1]).any():
        node.refuse("the constant differs between samples of a batch")
    return np.asarray(full[0])


def _batch_first(node: OnnxNode, constant: Weights, axes: int) -> Weights:
    """A constant with axes for all of the value that it meets, the batch axis first, if any."""
    rank = axes + (node.batch is not None)
    if constant.ndim > rank:
        node.refuse(f"constant of shape {list(constant.shape)} adds axes to the value")
    full = constant.reshape((1,) * (rank - constant.ndim) + constant.shape)
    return full if node.batch is None else np.moveaxis(full, node.batch, 0)


def scaled(node: OnnxNode, x: Tensor, w: Weights | float, b: Weights | float) -> Tensor:
    """`w x + b`."""
    w, b = (np.asarray(array) for array in (w, b))
    w, b = (array.reshape(()) if array.size == 1 else array for array in (w, b))
    if w.ndim == 0 and w == 1 and not b.any():
        return x
    return node.emit("affine", [x], params={"w": w, "b": b})


def expanded(node: OnnxNode, x: Tensor, shape: tuple[int, ...]) -> Tensor:
    """`x` broadcast to `shape`: leading axes added, axes of size 1 repeated."""
    if x.shape == shape:
        return x
    full = (1,) * (len(shape) - len(x.shape)) + x.shape
    fits = len(full) == len(shape) and all(h in (1, w) for h, w in zip(full, shape, strict=True))
    if not fits:
        node.refuse(f"a value of shape {list(x.shape)} does not broadcast to {list(shape)}")
    factors = tuple(want // have for have, want in zip(full, shape, strict=True))
    x = reshaped(node, x, full)
    return node.emit("upsample", [x], {"factors": factors}) if set(factors) != {1} else x


def widened(node: OnnxNode, tensors: Sequence[Tensor]) -> list[Tensor]:
    """The values, broadcast to the common shape of all inputs of the node."""
    given = (i for i in range(len(node.proto.input)) if node.has(i) and node.is_constant(i))
    return broadcast(node, tensors, [node.constant(index) for index in given])


def broadcast(
    node: OnnxNode, tensors: Sequence[Tensor], constants: Sequence[Weights] = ()
) -> list[Tensor]:
    """The values, broadcast to a shape that they have in common with constants."""
    tensors = _in_one_layout(node, tensors)
    shapes = [tensor.shape for tensor in tensors]
    rank = max(map(len, shapes))
    for constant in constants:
        full = _batch_first(node, constant, rank)
        shapes.append(full.shape[-rank:] if rank else ())
    try:
        shape = np.broadcast_shapes(*shapes)
    except ValueError:
        node.refuse(f"shapes {', '.join(str(list(s)) for s in shapes)} do not broadcast")
    return [expanded(node, tensor, shape) for tensor in tensors]


def _in_one_layout(node: OnnxNode, tensors: Sequence[Tensor]) -> list[Tensor]:
    """The values so that their axes per sample stand one above the other, and `node.batch`."""
    if len({(tensor.batch, tensor.rank) for tensor in tensors}) == 1:
        return list(tensors)
    if not node.scope.is_single:
        shapes = ", ".join(str(list(tensor.shape)) for tensor in tensors)
        node.refuse(
            f"values of different rank or layout meet: {shapes} per sample",
            "export with a batch of 1, or say so with `--shape INPUT=1,...`",
        )
    rank = max(tensor.rank for tensor in tensors)
    leading = [t if t.batch in (0, None) else dissolved(node, t) for t in tensors]
    whole = any(tensor.batch is None and tensor.rank == rank for tensor in leading)
    node.batch = None if whole else 0
    return leading


def add_all(node: OnnxNode, tensors: Sequence[Tensor]) -> Tensor:
    """The sum of values of one shape; a value that occurs n times counts n times."""
    counts: dict[Tensor, int] = {}
    for tensor in tensors:
        counts[tensor] = counts.get(tensor, 0) + 1
    terms = [scaled(node, tensor, float(n), 0.0) for tensor, n in counts.items()]
    return node.emit("add", terms) if len(terms) > 1 else terms[0]


@lowers("Add", "Sum", "Mean", layouts="kept")
def add(node: OnnxNode) -> Tensor:
    """A join of values, or a constant offset."""
    total = add_all(node, widened(node, node.tensors()))
    for index in range(len(node.proto.input)):
        if node.is_constant(index):
            total = scaled(node, total, 1.0, align(node, node.weights(index), total.shape))
    count = len(node.proto.input) if node.proto.op_type == "Mean" else 1
    return scaled(node, total, 1.0 / count, 0.0)


def _with_constant(node: OnnxNode) -> tuple[Tensor, Weights, bool]:
    """The data, the aligned constant, and whether the constant stands first."""
    first = node.is_constant(0)
    node.tensor(int(first))
    x, constant = widened(node, node.tensors())[0], node.weights(int(not first))
    return x, align(node, constant, x.shape), first


@lowers("Sub", layouts="kept")
def sub(node: OnnxNode) -> Tensor:
    """A difference with a constant or between values."""
    if node.is_constant(0) or node.is_constant(1):
        x, constant, first = _with_constant(node)
        return scaled(node, x, -1.0, constant) if first else scaled(node, x, 1.0, -constant)
    if node.tensor(0) == node.tensor(1):
        return scaled(node, node.tensor(0), 0.0, 0.0)
    x, y = widened(node, node.tensors())
    return add_all(node, [x, scaled(node, y, -1.0, 0.0)])


@lowers("Neg", layouts="kept")
def neg(node: OnnxNode) -> Tensor:
    """`-x`."""
    return scaled(node, node.tensor(), -1.0, 0.0)


@lowers("Mul", layouts="kept")
def mul(node: OnnxNode) -> Tensor:
    """A product with a constant, or of functions of the same value."""
    if not node.is_constant(0) and not node.is_constant(1):
        return product(node, node.tensor(0), node.tensor(1))
    x, constant, _ = _with_constant(node)
    return scaled(node, x, constant, 0.0)


@lowers("Div", layouts="kept")
def div(node: OnnxNode) -> Tensor:
    """A quotient by a constant, or of functions of the same value."""
    if not node.is_constant(1):
        if not node.is_constant(0) and is_length(node, node.tensor(1), node.tensor(0)):
            return cut(node, node.tensor(0))  # an embedding's direction is what is compared
        return quotient(node)
    x, constant, _ = _with_constant(node)
    if (constant == 0).any():
        node.refuse("division by zero")
    return scaled(node, x, 1.0 / constant.astype(np.float64), 0.0)


@lowers("Where", layouts="kept")
def where(node: OnnxNode) -> Tensor:
    """A choice by a constant mask."""
    if not node.is_constant(0):
        node.refuse(
            "it chooses by a condition that depends on the data", "use Relu, Clip, Max or Min"
        )
    tensors = widened(node, node.tensors())
    shape, parts = tensors[0].shape, []
    mask = align(node, node.weights(0), shape)
    values = iter(tensors)
    total = None
    for index, keep in ((1, mask), (2, 1 - mask)):
        if node.is_constant(index):
            constant = np.asarray(node.constant(index), np.float32)
            total = np.where(keep, align(node, constant, shape), 0)
        else:
            parts.append(scaled(node, next(values), keep, 0.0))
    result = add_all(node, parts)
    return result if total is None else scaled(node, result, 1.0, _compact(total, shape))


def _compact(array: Weights, shape: tuple[int, ...]) -> Weights:
    """An array that broadcasts to `shape` as a param may be shaped."""
    if array.ndim in (0, len(shape)) or array.shape == shape[:1]:
        return array
    return np.broadcast_to(array, shape)
