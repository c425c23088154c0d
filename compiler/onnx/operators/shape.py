"""Operators that give the elements another shape, or tell the shape."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import onnx

from spikec.compiler.onnx.grid import off_grid
from spikec.compiler.onnx.node import OnnxNode
from spikec.compiler.onnx.operators import lowers
from spikec.compiler.onnx.values import Constant, Tensor, Value


def reshaped(node: OnnxNode, x: Tensor, shape: tuple[int, ...]) -> Tensor:
    """`x` under another shape per sample; reshapes in a row become one."""
    made = node.builder.nodes[x.name]
    if shape != x.shape and made.op == "reshape":
        x = Tensor(made.inputs[0], node.builder.nodes[made.inputs[0]].type.shape)
    return x if shape == x.shape else node.emit("reshape", [x], {"shape": shape})


@lowers("Flatten", integers="kept", tail=True)
def flatten(node: OnnxNode) -> Tensor:
    """All axes of a sample into one."""
    x = node.tensor()
    axis, rank = node.attr("axis", 1), len(x.shape) + 1
    if axis != 1 and axis + rank != 1:
        node.refuse(f"axis {axis} mixes samples of a batch", "flatten from axis 1")
    return reshaped(node, x, (math.prod(x.shape),))


@lowers("Reshape", integers="kept", tail=True)
def reshape(node: OnnxNode) -> Tensor:
    """Another shape for each sample."""
    x, batch = node.tensor(), node.scope.batch
    full = (batch, *x.shape)
    target = list(node.integers(1))
    if not node.attr("allowzero", 0):
        target = [full[i] if s == 0 and i < len(full) else s for i, s in enumerate(target)]
    known = math.prod(size for size in target if size != -1)
    if target.count(-1) > 1 or known <= 0 or math.prod(full) % known:
        node.refuse(f"shape {target} does not fit {math.prod(full)} elements")
    target = [math.prod(full) // known if size == -1 else size for size in target]
    if not target or target[0] != batch or math.prod(target) != math.prod(full):
        node.refuse(f"shape {target} mixes samples of a batch (its first axis must stay {batch})")
    return reshaped(node, x, tuple(target[1:]))


@lowers("Squeeze", integers="kept", tail=True)
def squeeze(node: OnnxNode) -> Tensor:
    """Axes of size 1 dropped."""
    x, given = node.any_tensor(), _axes(node)
    full = _full(x)
    axes = _normalised(node, given, len(full))
    if not given:
        if node.scope.batch == 1:
            node.refuse("without axes it drops the batch axis too", "name the axes to squeeze")
        axes = {axis for axis, size in enumerate(full) if size == 1}
    if x.batch in axes:
        node.refuse("it drops the batch axis")
    if any(full[axis] != 1 for axis in axes):
        node.invalid(f"axes {list(given)} of {list(x.shape)} are not all of size 1")
    return _with_axes(node, x, [size for axis, size in enumerate(full) if axis not in axes])


@lowers("Unsqueeze", integers="kept", tail=True)
def unsqueeze(node: OnnxNode) -> Tensor:
    """Axes of size 1 added, also before the batch axis."""
    x, given = node.any_tensor(), _axes(node)
    rank = len(x.shape) + 1 + len(given)
    added = _normalised(node, given, rank)
    if len(added) < len(given):
        node.invalid(f"axes {list(given)} repeat")
    sizes = iter(_full(x))
    return _with_axes(node, x, [1 if axis in added else next(sizes) for axis in range(rank)])


_BATCH = -1


def _full(x: Tensor) -> list[int]:
    """The ONNX shape, with a mark for the batch axis."""
    return [*x.shape[: x.batch], _BATCH, *x.shape[x.batch :]]


def _with_axes(node: OnnxNode, x: Tensor, full: list[int]) -> Tensor:
    y = reshaped(node, Tensor(x.name, x.shape), tuple(size for size in full if size != _BATCH))
    return Tensor(y.name, y.shape, full.index(_BATCH))


def _normalised(node: OnnxNode, axes: tuple[int, ...], rank: int) -> set[int]:
    if any(not -rank <= axis < rank for axis in axes):
        node.invalid(f"axes {list(axes)} do not fit {rank} axes")
    return {axis % rank for axis in axes}


def _axes(node: OnnxNode) -> tuple[int, ...]:
    axes: tuple[int, ...] = node.attr("axes", ())
    return node.integers(1) if node.has(1) else axes


@lowers("Shape", integers="kept")
def shape_of(node: OnnxNode) -> Constant:
    """The ONNX shape as a constant; a dynamic batch counts as 1."""
    x = node.any_tensor()
    full = [*x.shape[: x.batch], node.scope.batch, *x.shape[x.batch :]]
    return np.array(full[node.attr("start", 0) : node.attr("end", len(full))], np.int64)


@lowers("Size", integers="kept")
def size_of(node: OnnxNode) -> Constant:
    """The number of elements as a constant."""
    return np.array(node.scope.batch * math.prod(node.any_tensor().shape), np.int64)


@lowers("Identity", integers="kept", tail=True)
def identity(node: OnnxNode) -> Value:
    """The input."""
    return node.value(0)


@lowers("Dropout")
def dropout(node: OnnxNode) -> Tensor:
    """The input: dropout does nothing at inference."""
    if node.uses_output(1):
        node.refuse("the dropout mask is used")
    if node.has(2) and bool(node.constant(2).reshape(-1)[0]):
        node.refuse("training_mode is on", "export the model in evaluation mode")
    return node.tensor()


@lowers("Transpose", integers="kept", tail=True)
def transpose(node: OnnxNode) -> Tensor:
    """Axes in another order; the batch axis may move, until it is moved back."""
    x = node.any_tensor()
    rank = len(x.shape) + 1
    perm = node.attr("perm", tuple(range(rank))[::-1])
    if sorted(perm) != list(range(rank)):
        node.invalid(f"perm {list(perm)} does not order {rank} axes")
    rest = [axis - (axis > x.batch) for axis in perm if axis != x.batch]
    y = x
    if rest != sorted(rest):
        y = node.emit("transpose", [x], {"perm": tuple(rest)})
    return Tensor(y.name, y.shape, perm.index(x.batch))


@lowers("Cast", "CastLike", integers="read", tail=True)
def cast(node: OnnxNode) -> Value:
    """Between real types nothing changes here; integers may become reals."""
    dtype = _target(node)
    value = node.value(0)
    if isinstance(value, np.ndarray):
        return value.astype(dtype)
    x = node.tensor()
    if dtype in _WIDE_INTEGERS and x.grid is not None:
        return x
    if dtype not in _REALS and dtype.name != "bfloat16":
        node.refuse(f"it rounds values that depend on the data to {dtype.name}")
    return x if x.grid is None else off_grid(node, x)


_REALS = (np.dtype(np.float16), np.dtype(np.float32), np.dtype(np.float64))
_WIDE_INTEGERS = (np.dtype(np.int32), np.dtype(np.int64))


def _target(node: OnnxNode) -> np.dtype[Any]:
    """The element type that a Cast yields."""
    if node.key[1] == "CastLike":
        other = node.value(1)
        if isinstance(other, Tensor):
            return np.dtype(np.float32 if other.grid is None else np.int64)
        return other.dtype
    return np.dtype(onnx.helper.tensor_dtype_to_np_dtype(node.attr("to", 0)))
