"""Arithmetic element by element: with constants it is affine, between values only sums are."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from spikec.compiler.onnx.importer import OnnxNode, Tensor, lowers

Weights = NDArray[Any]


def align(node: OnnxNode, constant: Weights, shape: tuple[int, ...]) -> Weights:
    """A constant as param of a value of `shape`: (), (channels,) or of the value's rank."""
    rank = len(shape) + 1
    if constant.ndim > rank:
        node.refuse(f"constant of shape {list(constant.shape)} adds axes to the value")
    full = constant.reshape((1,) * (rank - constant.ndim) + constant.shape)
    if full.shape[0] != 1:
        node.refuse("the constant differs between samples of a batch")
    per_sample: Weights = full[0]
    fits = all(have in (1, want) for have, want in zip(per_sample.shape, shape, strict=True))
    if not fits:
        node.refuse(f"constant of shape {list(constant.shape)} does not broadcast to {list(shape)}")
    if per_sample.size == 1:
        return per_sample.reshape(())
    if per_sample.size == shape[0] == per_sample.shape[0]:
        return per_sample.reshape(-1)
    return per_sample


def scaled(node: OnnxNode, x: Tensor, w: Weights | float, b: Weights | float) -> Tensor:
    """`w x + b`."""
    return node.emit("affine", [x], params={"w": np.asarray(w, "f4"), "b": np.asarray(b, "f4")})


def _with_constant(node: OnnxNode) -> tuple[Tensor, Weights, bool]:
    """The data, the aligned constant, and whether the constant stands first."""
    first = node.is_constant(0)
    x, constant = node.tensor(int(first)), node.weights(int(not first))
    return x, align(node, constant, x.shape), first


@lowers("Add", "Sum")
def add(node: OnnxNode) -> Tensor:
    """A join of values, or a constant offset."""
    tensors = [node.tensor(i) for i in range(len(node.proto.input)) if not node.is_constant(i)]
    x = tensors[0]
    if len({tensor.shape for tensor in tensors}) > 1:
        shapes = ", ".join(str(list(tensor.shape)) for tensor in tensors)
        node.refuse(f"values of different shapes are added: {shapes}")
    counts = {tensor: tensors.count(tensor) for tensor in tensors}
    terms = [scaled(node, t, float(n), 0.0) if n > 1 else t for t, n in counts.items()]
    total = node.emit("add", terms) if len(terms) > 1 else terms[0]
    for index in range(len(node.proto.input)):
        if node.is_constant(index):
            total = scaled(node, total, 1.0, align(node, node.weights(index), x.shape))
    return total


@lowers("Sub")
def sub(node: OnnxNode) -> Tensor:
    """A difference with a constant or between values."""
    if node.is_constant(0) or node.is_constant(1):
        x, constant, first = _with_constant(node)
        return scaled(node, x, -1.0, constant) if first else scaled(node, x, 1.0, -constant)
    x, y = node.tensor(0), node.tensor(1)
    if x.shape != y.shape:
        node.refuse(f"values of different shapes are subtracted: {list(x.shape)}, {list(y.shape)}")
    if x == y:
        node.refuse("a value minus itself is always 0")
    return node.emit("add", [x, scaled(node, y, -1.0, 0.0)])


@lowers("Mul")
def mul(node: OnnxNode) -> Tensor:
    """A product with a constant."""
    if not node.is_constant(0) and not node.is_constant(1):
        node.refuse(
            "a product of two values that both depend on the data has no spiking form",
            "gating and attention cannot be converted",
        )
    x, constant, _ = _with_constant(node)
    return scaled(node, x, constant, 0.0)


@lowers("Div")
def div(node: OnnxNode) -> Tensor:
    """A quotient by a constant."""
    if not node.is_constant(1):
        node.refuse("division by a value that depends on the data has no spiking form")
    x, constant, _ = _with_constant(node)
    if (constant == 0).any():
        node.refuse("division by zero")
    return scaled(node, x, 1.0 / constant, 0.0)
