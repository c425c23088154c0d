"""Operators that choose, join and repeat elements."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from spikec.compiler.onnx.layout import dissolved, full_shape, located, reshaped, settled
from spikec.compiler.onnx.node import OnnxNode
from spikec.compiler.onnx.operators import lowers
from spikec.compiler.onnx.operators.elementwise import add_all, expanded, scaled
from spikec.compiler.onnx.operators.shape import turned
from spikec.compiler.onnx.values import Constant, Tensor, Value


@lowers("Concat", integers="kept", layouts="read")
def concat(node: OnnxNode) -> Tensor:
    """Values one after the other along an axis; constants among them."""
    tensors = node.tensors()
    if len(tensors) == len(node.proto.input):
        return joined(node, tensors, node.attr("axis", 1))
    return _concat_constants(node, tensors)


def joined(node: OnnxNode, tensors: Sequence[Tensor], axis: int) -> Tensor:
    """Values one after the other along an ONNX axis."""
    if len(tensors) == 1:
        return tensors[0]
    tensors, place = _placed(node, tensors, axis)
    y = node.emit("concat", tensors, {"axis": place})
    return settled(node, replace(y, batch=tensors[0].batch))


def _placed(node: OnnxNode, tensors: Sequence[Tensor], axis: int) -> tuple[list[Tensor], int]:
    """The values in one layout, and an ONNX axis as their axis per sample."""
    if len({tensor.rank for tensor in tensors}) > 1:
        node.invalid(f"values of {', '.join(str(t.rank) for t in tensors)} axes")
    if len({tensor.batch for tensor in tensors}) > 1:
        tensors = [dissolved(node, tensor) for tensor in tensors]
    placed = [located(node, tensor, [axis]) for tensor in tensors]
    return [tensor for tensor, _ in placed], placed[0][1][0]


def _concat_constants(node: OnnxNode, tensors: Sequence[Tensor]) -> Tensor:
    """Each value among zeros, added up, plus the constants as offset."""
    if any(tensor.grid is not None for tensor in tensors):
        node.refuse("it joins integers with constants")
    tensors, axis = _placed(node, tensors, node.attr("axis", 1))
    shape, batch = tensors[0].shape, tensors[0].batch
    values = iter(tensors)
    pieces = [
        _per_sample(node, index, shape, axis, batch) if node.is_constant(index) else next(values)
        for index in range(len(node.proto.input))
    ]
    sizes = [piece.shape[axis] for piece in pieces]
    whole = (*shape[:axis], sum(sizes), *shape[axis + 1 :])
    offset, terms = np.zeros(whole, np.float32), []
    for piece, size, end in zip(pieces, sizes, np.cumsum(sizes).tolist(), strict=True):
        place = (*(slice(None),) * axis, slice(end - size, end))
        if isinstance(piece, Tensor):
            terms.append(padded(node, piece, axis, end - size, sum(sizes) - end))
        else:
            offset[place] = piece
    y = scaled(node, add_all(node, terms), 1.0, offset)
    return settled(node, replace(y, batch=batch))


def _per_sample(
    node: OnnxNode, index: int, shape: tuple[int, ...], axis: int, batch: int | None
) -> Constant:
    constant = node.weights(index)
    sample = constant.shape if batch is None else np.delete(constant.shape, batch).tolist()
    rest = (*shape[:axis], *shape[axis + 1 :])
    if len(sample) != len(shape) or (*sample[:axis], *sample[axis + 1 :]) != rest:
        node.invalid(f"constant {list(constant.shape)} does not fit beside {list(shape)}")
    if batch is None:
        return constant
    constant = np.moveaxis(constant, batch, 0)
    if (constant != constant[:1]).any():
        node.refuse("the constant differs between samples of a batch")
    return np.asarray(constant[0])


def padded(node: OnnxNode, x: Tensor, axis: int, begin: int, end: int) -> Tensor:
    """`x` with zeros along one axis."""
    rank = len(x.shape)
    pads = [0] * (2 * rank)
    pads[axis], pads[axis + rank] = begin, end
    return node.emit("pad", [x], {"pads": tuple(pads)}) if any(pads) else x


@lowers("Split", integers="kept", layouts="read")
def split(node: OnnxNode) -> list[Value]:
    """Parts along an axis."""
    count = len(node.proto.output)
    x, (axis,) = located(node, node.tensor(), [node.attr("axis", 0)])
    sizes = node.integers(1) if node.has(1) else node.attr("split", ())
    if not sizes:
        even = -(-x.shape[axis] // node.attr("num_outputs", count))
        sizes = (even,) * (count - 1) + (x.shape[axis] - even * (count - 1),)
    if sum(sizes) != x.shape[axis] or len(sizes) != count or min(sizes) < 0:
        node.invalid(f"parts {list(sizes)} do not make up {x.shape[axis]}")
    starts = np.cumsum([0, *sizes[:-1]]).tolist()
    return [
        _relaid(node, part(node, x, axis, start, size), x) if size else np.zeros(0, np.float32)
        for start, size in zip(starts, sizes, strict=True)
    ]


def _relaid(node: OnnxNode, y: Tensor, x: Tensor) -> Tensor:
    """`y` in the layout of `x`."""
    return settled(node, replace(y, batch=x.batch))


def part(node: OnnxNode, x: Tensor, axis: int, start: int, size: int, step: int = 1) -> Tensor:
    """`size` elements along one axis, from `start` on."""
    if (start, size, step) == (0, x.shape[axis], 1):
        return x
    rank = len(x.shape)
    starts, sizes, steps = [0] * rank, list(x.shape), [1] * rank
    starts[axis], sizes[axis], steps[axis] = start, size, step
    attrs = {"starts": tuple(starts), "sizes": tuple(sizes), "steps": tuple(steps)}
    return node.emit("slice", [x], attrs)


@lowers("Slice", integers="kept", layouts="read")
def slice_(node: OnnxNode) -> Tensor:
    """Elements from start to end along axes, with steps that may be negative."""
    x = node.tensor()
    if node.opset < 10:
        starts, ends = node.attr("starts", ()), node.attr("ends", ())
        axes, steps = node.attr("axes", tuple(range(len(starts)))), (1,) * len(starts)
    else:
        starts, ends = node.integers(1), node.integers(2)
        axes = node.integers(3) if node.has(3) else tuple(range(len(starts)))
        steps = node.integers(4) if node.has(4) else (1,) * len(starts)
    for axis, start, end, step in zip(axes, starts, ends, steps, strict=True):
        is_batch = x.batch is not None and axis % x.rank == x.batch
        if is_batch and _is_whole(start, end, step, node.scope.batch):
            continue
        x, (where,) = located(node, x, [axis])
        taken = range(x.shape[where])[slice(start, end, step)]
        if not taken:
            node.refuse(f"slice {start}:{end}:{step} of {x.shape[where]} elements is empty")
        x = replace(part(node, x, where, taken[0], len(taken), step), batch=x.batch)
    return settled(node, x)


def _is_whole(start: int, end: int, step: int, batch: int) -> bool:
    return list(range(batch)[slice(start, end, step)]) == list(range(batch)) and end > 1


@lowers("Gather", integers="kept", layouts="read", tail=True)
def gather(node: OnnxNode) -> Tensor:
    """Elements at constant indices along an axis."""
    if node.is_constant(0):
        node.refuse(
            "an embedding: it looks up constants by values that depend on the data",
            "feed the embedded vectors as input, or one-hot vectors into a MatMul",
        )
    x, indices, wanted = node.tensor(), node.constant(1), node.attr("axis", 0)
    before = x.batch is not None and 0 <= wanted % x.rank < x.batch
    x, (axis,) = located(node, x, [wanted])
    size = x.shape[axis]
    chosen = [int(index) for index in indices.reshape(-1)]
    if not chosen or min(chosen) < -size or max(chosen) >= size:
        node.invalid(f"indices {chosen[:8]} do not fit {size} elements")
    y = taken(node, x, axis, [index % size for index in chosen])
    y = reshaped(node, y, (*x.shape[:axis], *indices.shape, *x.shape[axis + 1 :]))
    moved = indices.ndim - 1 if before else 0
    return settled(node, replace(y, batch=None if x.batch is None else x.batch + moved))


@lowers("GatherElements", "GatherND", integers="kept", layouts="read", tail=True)
def gather_elements(node: OnnxNode) -> Tensor:
    """Single elements at constant places."""
    if node.is_constant(0):
        node.refuse("it looks up constants by values that depend on the data")
    x, indices = node.tensor(), node.constant(1)
    full = full_shape(x, node.scope.batch)
    numbers = np.arange(math.prod(full)).reshape(full)
    if node.proto.op_type == "GatherElements":
        places = _elements_at(node, numbers, indices)
    else:
        places = _parts_at(node, numbers, indices)
    x = dissolved(node, x)
    y = taken(node, reshaped(node, x, (numbers.size,)), 0, places.reshape(-1).tolist())
    return settled(node, reshaped(node, replace(y, batch=None), places.shape))


def _elements_at(node: OnnxNode, numbers: Constant, indices: Constant) -> Constant:
    axis = node.attr("axis", 0)
    if indices.ndim != numbers.ndim or not -numbers.ndim <= axis < numbers.ndim:
        node.invalid(f"indices {list(indices.shape)} do not fit {list(numbers.shape)}")
    others = [
        slice(n) if a != axis % numbers.ndim else slice(None) for a, n in enumerate(indices.shape)
    ]
    return np.take_along_axis(numbers[tuple(others)], indices, axis)


def _parts_at(node: OnnxNode, numbers: Constant, indices: Constant) -> Constant:
    if node.attr("batch_dims", 0) or not 0 < indices.shape[-1] <= numbers.ndim:
        node.refuse("batch_dims are not supported", "use Gather")
    return np.asarray(numbers[tuple(np.moveaxis(indices, -1, 0))])


def taken(node: OnnxNode, x: Tensor, axis: int, indices: Sequence[int]) -> Tensor:
    """Elements along one axis: a slice where they are evenly spaced, repeats, or a gather."""
    first, count, size = indices[0], len(indices), x.shape[axis]
    step = indices[1] - first if count > 1 else 1
    if step and list(indices) == [first + step * i for i in range(count)]:
        return part(node, x, axis, first, count, step)
    factor = count // size
    if list(indices) == [i // max(factor, 1) for i in range(size * factor)]:
        factors = tuple(factor if a == axis else 1 for a in range(len(x.shape)))
        return node.emit("upsample", [x], {"factors": factors})
    return node.emit("gather", [x], {"axis": axis, "indices": tuple(indices)})


@lowers("Pad", integers="read")
def pad(node: OnnxNode) -> Tensor:
    """Elements around a value: constant, or those of the value; negative pads crop."""
    x, mode = node.tensor(), node.attr("mode", "constant")
    if x.grid is not None:
        node.refuse("it pads integers", "dequantise before it")
    befores, afters = _pads(node, len(x.shape) + 1)
    if befores[0] or afters[0]:
        node.refuse("it pads the batch axis")
    value = _pad_value(node)
    if mode == "constant" and value:
        x = scaled(node, x, 1.0, -value)
    for axis, (before, after) in enumerate(zip(befores[1:], afters[1:], strict=True)):
        x = _padded_by(node, x, axis, before, after, mode)
    return scaled(node, x, 1.0, value) if mode == "constant" else x


def _pads(node: OnnxNode, rank: int) -> tuple[list[int], list[int]]:
    pads = node.attr("pads", ()) if node.opset < 11 else node.integers(1)
    axes = node.integers(3) if node.has(3) else tuple(range(rank))
    if len(pads) != 2 * len(axes):
        node.invalid(f"{len(pads)} pads do not fit {len(axes)} axes")
    befores, afters = [0] * rank, [0] * rank
    for index, axis in enumerate(axes):
        if not -rank <= axis < rank:
            node.invalid(f"axis {axis} does not fit {rank} axes")
        befores[axis], afters[axis] = pads[index], pads[index + len(axes)]
    return befores, afters


def _pad_value(node: OnnxNode) -> float:
    if node.opset < 11:
        return float(node.attr("value", 0.0))
    return node.scalar(2) if node.has(2) else 0.0


_MODES = {"edge": "edge", "reflect": "reflect", "wrap": "wrap"}


def _padded_by(node: OnnxNode, x: Tensor, axis: int, before: int, after: int, mode: str) -> Tensor:
    size = x.shape[axis]
    first, last = max(-before, 0), size - max(-after, 0)
    before, after = max(before, 0), max(after, 0)
    if last <= first:
        node.invalid(f"pads crop all {size} elements")
    if mode == "constant":
        return padded(node, part(node, x, axis, first, last - first), axis, before, after)
    if mode not in _MODES:
        node.refuse(f"mode '{mode}' is unknown")
    if max(before, after) > 64 * size:
        node.refuse(f"it pads {size} elements by {max(before, after)}")
    indices = np.pad(np.arange(first, last), (before, after), mode=_MODES[mode])  # type: ignore[call-overload]
    return taken(node, x, axis, indices.tolist())


@lowers("Expand", layouts="read")
def expand(node: OnnxNode) -> Tensor:
    """Axes of size 1 repeated, axes added in front."""
    x, batch = node.tensor(), node.scope.batch
    try:
        target = np.broadcast_shapes(full_shape(x, batch), node.integers(1))
    except ValueError:
        node.invalid(f"shape {list(node.integers(1))} does not fit {list(x.shape)}")
    if x.batch is not None and len(target) == x.rank and target[x.batch] == batch:
        inner = (*target[: x.batch], *target[x.batch + 1 :])
        return replace(expanded(node, x, inner), batch=x.batch)
    y = expanded(node, dissolved(node, x, f"shape {list(target)}"), target)
    return settled(node, replace(y, batch=None))


@lowers("Tile", layouts="read")
def tile(node: OnnxNode) -> Tensor:
    """The whole value repeated along axes."""
    x, repeats = node.tensor(), node.integers(1)
    if len(repeats) != x.rank or min(repeats) < 1:
        node.refuse(f"repeats {list(repeats)} do not fit {x.rank} axes")
    repeated = [axis for axis, count in enumerate(repeats) if count > 1]
    x, axes = located(node, x, repeated)
    for axis, place in zip(repeated, axes, strict=True):
        node.builder.check_size(node.name, math.prod(x.shape) * repeats[axis])
        y = taken(node, x, place, list(range(x.shape[place])) * repeats[axis])
        x = replace(y, batch=x.batch)
    return settled(node, x)


@lowers("DepthToSpace")
def depth_to_space(node: OnnxNode) -> Tensor:
    """Channels to positions: each channel group becomes a block of positions."""
    x, block = node.tensor(), node.attr("blocksize", 0)
    if len(x.shape) != 3 or block < 1 or x.shape[0] % block**2:
        node.invalid(f"blocksize {block} does not fit an input of shape {list(x.shape)}")
    channels, height, width = x.shape[0] // block**2, *x.shape[1:]
    if node.attr("mode", "DCR") == "DCR":
        split_, perm = (block, block, channels, height, width), (2, 3, 0, 4, 1)
    else:
        split_, perm = (channels, block, block, height, width), (0, 3, 1, 4, 2)
    moved = turned(node, reshaped(node, x, split_), perm)
    return reshaped(node, moved, (channels, height * block, width * block))


@lowers("SpaceToDepth")
def space_to_depth(node: OnnxNode) -> Tensor:
    """Positions to channels: each block of positions becomes a channel group."""
    x, block = node.tensor(), node.attr("blocksize", 0)
    if len(x.shape) != 3 or block < 1 or x.shape[1] % block or x.shape[2] % block:
        node.invalid(f"blocksize {block} does not fit an input of shape {list(x.shape)}")
    channels, height, width = x.shape[0], x.shape[1] // block, x.shape[2] // block
    blocks = reshaped(node, x, (channels, height, block, width, block))
    channels_last = node.attr("mode", "DCR") == "DCR"
    moved = turned(node, blocks, (2, 4, 0, 1, 3) if channels_last else (0, 2, 4, 1, 3))
    return reshaped(node, moved, (channels * block**2, height, width))
