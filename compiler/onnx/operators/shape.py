"""Operators that give the elements another shape, or tell the shape."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import onnx

from spikec.compiler.onnx.grid import off_grid
from spikec.compiler.onnx.layout import dissolved, full_shape, located, reshaped, settled
from spikec.compiler.onnx.node import OnnxNode
from spikec.compiler.onnx.operators import lowers
from spikec.compiler.onnx.values import Constant, Tensor, Value


@lowers("Flatten", integers="kept", layouts="read", tail=True)
def flatten(node: OnnxNode) -> Tensor:
    """The axes of a value into two."""
    x = node.tensor()
    axis, batch = node.attr("axis", 1), node.scope.batch
    if not -x.rank <= axis <= x.rank:
        node.invalid(f"axis {axis} does not fit {x.rank} axes")
    full, axis = full_shape(x, batch), axis + x.rank if axis < 0 else axis
    return _reshaped_in_full(node, x, [math.prod(full[:axis]), math.prod(full[axis:])])


@lowers("Reshape", integers="kept", layouts="read", tail=True)
def reshape(node: OnnxNode) -> Tensor:
    """Another shape for the elements, with a size of 0 for one that stays, and -1 for the rest."""
    x = node.tensor()
    full = full_shape(x, node.scope.batch)
    target = list(node.integers(1))
    if not node.attr("allowzero", 0):
        target = [full[i] if s == 0 and i < len(full) else s for i, s in enumerate(target)]
    known = math.prod(size for size in target if size != -1)
    fits = target.count(-1) <= 1 and known > 0 and math.prod(full) % known == 0
    target = [math.prod(full) // known if size == -1 and fits else size for size in target]
    if not fits or math.prod(target) != math.prod(full):
        node.refuse(f"shape {target} does not fit {math.prod(full)} elements")
    return _reshaped_in_full(node, x, target)


def _reshaped_in_full(node: OnnxNode, x: Tensor, target: Sequence[int]) -> Tensor:
    """`x` under another ONNX shape of as many elements."""
    batch = node.scope.batch
    if x.batch == 0 and tuple(target[:1]) == (batch,):
        return reshaped(node, x, tuple(target[1:]))
    if not node.scope.is_single:
        node.refuse(
            f"shape {list(target)} mixes samples of a batch (its first axis must stay {batch})",
            "export with a batch of 1, or say so with `--shape INPUT=1,...`",
        )
    return settled(node, reshaped(node, dissolved(node, x), tuple(target)))


@lowers("Squeeze", integers="kept", layouts="read", tail=True)
def squeeze(node: OnnxNode) -> Tensor:
    """Axes of size 1 dropped."""
    x, given = node.tensor(), _axes(node)
    if not given:  # of a batch of any size the axis stays
        full = full_shape(x, node.scope.batch if node.scope.is_single else _BATCH)
        given = tuple(axis for axis, size in enumerate(full) if size == 1)
    dropped = {axis % x.rank for axis in given}
    x, axes = located(node, x, given)
    if any(x.shape[axis] != 1 for axis in axes):
        node.invalid(f"axes {list(given)} of {list(x.shape)} are not all of size 1")
    y = reshaped(node, x, tuple(n for axis, n in enumerate(x.shape) if axis not in axes))
    batch = None if x.batch is None else x.batch - sum(axis < x.batch for axis in dropped)
    return settled(node, replace(y, batch=batch))


@lowers("Unsqueeze", integers="kept", layouts="read", tail=True)
def unsqueeze(node: OnnxNode) -> Tensor:
    """Axes of size 1 added, also before the batch axis."""
    x, given = node.tensor(), _axes(node)
    rank = x.rank + len(given)
    if any(not -rank <= axis < rank for axis in given):
        node.invalid(f"axes {list(given)} do not fit {rank} axes")
    added = {axis % rank for axis in given}
    if len(added) < len(given):
        node.invalid(f"axes {list(given)} repeat")
    sizes = iter(full_shape(x, _BATCH))
    full = [1 if axis in added else next(sizes) for axis in range(rank)]
    y = reshaped(node, x, tuple(size for size in full if size != _BATCH))
    return settled(node, replace(y, batch=None if x.batch is None else full.index(_BATCH)))


_BATCH = -1
"""Stands for the batch axis among the sizes of the others."""


def _axes(node: OnnxNode) -> tuple[int, ...]:
    axes: tuple[int, ...] = node.attr("axes", ())
    return node.integers(1) if node.has(1) else axes


@lowers("Shape", integers="kept", layouts="read")
def shape_of(node: OnnxNode) -> Constant:
    """The ONNX shape as a constant; a dynamic batch counts as 1."""
    full = full_shape(node.any_tensor(), node.scope.batch)
    return np.array(full[node.attr("start", 0) : node.attr("end", len(full))], np.int64)


@lowers("Size", integers="kept", layouts="read")
def size_of(node: OnnxNode) -> Constant:
    """The number of elements as a constant."""
    return np.array(math.prod(full_shape(node.any_tensor(), node.scope.batch)), np.int64)


@lowers("Identity", integers="kept", layouts="read", tail=True)
def identity(node: OnnxNode) -> Value:
    """The input."""
    return node.value(0)


@lowers("Dropout", layouts="read")
def dropout(node: OnnxNode) -> Tensor:
    """The input: dropout does nothing at inference."""
    if node.uses_output(1):
        node.refuse("the dropout mask is used")
    if node.has(2) and bool(node.constant(2).reshape(-1)[0]):
        node.refuse("training_mode is on", "export the model in evaluation mode")
    return node.tensor()


@lowers("Transpose", integers="kept", layouts="read", tail=True)
def transpose(node: OnnxNode) -> Tensor:
    """Axes in another order; the batch axis may move, until it is moved back."""
    x = node.tensor()
    perm = node.attr("perm", tuple(range(x.rank))[::-1])
    if sorted(perm) != list(range(x.rank)):
        node.invalid(f"perm {list(perm)} does not order {x.rank} axes")
    moved = [axis for axis in perm if axis != x.batch]
    rest = tuple(axis - (x.batch is not None and axis > x.batch) for axis in moved)
    batch = None if x.batch is None else perm.index(x.batch)
    return settled(node, replace(turned(node, x, rest), batch=batch))


def turned(node: OnnxNode, x: Tensor, perm: Sequence[int]) -> Tensor:
    """`x` with its axes per sample in another order."""
    if list(perm) == list(range(len(perm))):
        return x
    return node.emit("transpose", [x], {"perm": tuple(perm)})


@lowers("Cast", "CastLike", integers="read", layouts="kept", tail=True)
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
