"""Operators that choose, join and repeat elements."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from spikec.compiler.onnx.node import OnnxNode
from spikec.compiler.onnx.operators import lowers
from spikec.compiler.onnx.operators.elementwise import add_all, expanded, scaled
from spikec.compiler.onnx.operators.linear import turned
from spikec.compiler.onnx.operators.shape import reshaped
from spikec.compiler.onnx.values import Constant, Tensor, Value


@lowers("Concat", integers="kept")
def concat(node: OnnxNode) -> Tensor:
    """Values one after the other along an axis; constants among them."""
    tensors = node.tensors()
    axis = node.axis(node.attr("axis", 1), len(tensors[0].shape) + 1)
    count = len(node.proto.input)
    if len(tensors) == count:
        return joined(node, [node.tensor(i) for i in range(count)], axis)
    return _concat_constants(node, axis)


def joined(node: OnnxNode, tensors: Sequence[Tensor], axis: int) -> Tensor:
    """Values one after the other along an axis."""
    return tensors[0] if len(tensors) == 1 else node.emit("concat", tensors, {"axis": axis})


def _concat_constants(node: OnnxNode, axis: int) -> Tensor:
    """Each value among zeros, added up, plus the constants as offset."""
    if any(tensor.grid is not None for tensor in node.tensors()):
        node.refuse("it joins integers with constants")
    shape = node.tensors()[0].shape
    pieces: list[Tensor | Constant] = []
    for index in range(len(node.proto.input)):
        constant = node.is_constant(index)
        pieces.append(_per_sample(node, index, shape, axis) if constant else node.tensor(index))
    sizes = [piece.shape[axis] for piece in pieces]
    whole = (*shape[:axis], sum(sizes), *shape[axis + 1 :])
    offset, terms = np.zeros(whole, np.float32), []
    for piece, size, end in zip(pieces, sizes, np.cumsum(sizes).tolist(), strict=True):
        place = (*(slice(None),) * axis, slice(end - size, end))
        if isinstance(piece, Tensor):
            terms.append(padded(node, piece, axis, end - size, sum(sizes) - end))
        else:
            offset[place] = piece
    return scaled(node, add_all(node, terms), 1.0, offset)


def _per_sample(node: OnnxNode, index: int, shape: tuple[int, ...], axis: int) -> Constant:
    constant = node.weights(index)
    rest = (*shape[:axis], *shape[axis + 1 :])
    if constant.ndim != len(shape) + 1 or np.delete(constant.shape[1:], axis).tolist() != [*rest]:
        node.invalid(f"constant {list(constant.shape)} does not fit beside {list(shape)}")
    if (constant != constant[:1]).any():
        node.refuse("the constant differs between samples of a batch")
    return np.asarray(constant[0])


def padded(node: OnnxNode, x: Tensor, axis: int, begin: int, end: int) -> Tensor:
    """`x` with zeros along one axis."""
    rank = len(x.shape)
    pads = [0] * (2 * rank)
    pads[axis], pads[axis + rank] = begin, end
    return node.emit("pad", [x], {"pads": tuple(pads)}) if any(pads) else x


@lowers("Split", integers="kept")
def split(node: OnnxNode) -> list[Value]:
    """Parts along an axis."""
    x, count = node.tensor(), len(node.proto.output)
    axis = node.axis(node.attr("axis", 0), len(x.shape) + 1)
    sizes = node.integers(1) if node.has(1) else node.attr("split", ())
    if not sizes:
        each = -(-x.shape[axis] // node.attr("num_outputs", count))
        sizes = (each,) * (count - 1) + (x.shape[axis] - each * (count - 1),)
    if sum(sizes) != x.shape[axis] or len(sizes) != count or min(sizes) < 0:
        node.invalid(f"parts {list(sizes)} do not make up {x.shape[axis]}")
    starts = np.cumsum([0, *sizes[:-1]]).tolist()
    return [
        part(node, x, axis, start, size) if size else np.zeros(0, np.float32)
        for start, size in zip(starts, sizes, strict=True)
    ]


def part(node: OnnxNode, x: Tensor, axis: int, start: int, size: int, step: int = 1) -> Tensor:
    """`size` elements along one axis, from `start` on."""
    if (start, size, step) == (0, x.shape[axis], 1):
        return x
    rank = len(x.shape)
    starts, sizes, steps = [0] * rank, list(x.shape), [1] * rank
    starts[axis], sizes[axis], steps[axis] = start, size, step
    attrs = {"starts": tuple(starts), "sizes": tuple(sizes), "steps": tuple(steps)}
    return node.emit("slice", [x], attrs)


@lowers("Slice", integers="kept")
def slice_(node: OnnxNode) -> Tensor:
    """Elements from start to end along axes, with steps that may be negative."""
    x = node.tensor()
    rank = len(x.shape) + 1
    if node.opset < 10:
        starts, ends = node.attr("starts", ()), node.attr("ends", ())
        axes, steps = node.attr("axes", tuple(range(len(starts)))), (1,) * len(starts)
    else:
        starts, ends = node.integers(1), node.integers(2)
        axes = node.integers(3) if node.has(3) else tuple(range(len(starts)))
        steps = node.integers(4) if node.has(4) else (1,) * len(starts)
    for axis, start, end, step in zip(axes, starts, ends, steps, strict=True):
        if axis % rank == 0 and _is_whole(start, end, step, node.scope.batch):
            continue
        where = node.axis(axis, rank)
        taken = range(x.shape[where])[slice(start, end, step)]
        if not taken:
            node.refuse(f"slice {start}:{end}:{step} of {x.shape[where]} elements is empty")
        x = part(node, x, where, taken[0], len(taken), step)
    return x


def _is_whole(start: int, end: int, step: int, batch: int) -> bool:
    return list(range(batch)[slice(start, end, step)]) == list(range(batch)) and end > 1


@lowers("Gather", integers="kept", tail=True)
def gather(node: OnnxNode) -> Tensor:
    """Elements at constant indices along an axis."""
    if node.is_constant(0):
        node.refuse("it looks up constants by values that depend on the data")
    x, indices = node.tensor(), node.constant(1)
    axis = node.axis(node.attr("axis", 0), len(x.shape) + 1)
    size = x.shape[axis]
    chosen = [int(index) for index in indices.reshape(-1)]
    if not chosen or min(chosen) < -size or max(chosen) >= size:
        node.invalid(f"indices {chosen[:8]} do not fit {size} elements")
    y = taken(node, x, axis, [index % size for index in chosen])
    return reshaped(node, y, (*x.shape[:axis], *indices.shape, *x.shape[axis + 1 :]))


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


@lowers("Expand")
def expand(node: OnnxNode) -> Tensor:
    """Axes of size 1 repeated."""
    x, batch = node.tensor(), node.scope.batch
    rank = len(x.shape) + 1
    target = (1,) * (rank - node.constant(1).size) + node.integers(1)
    if len(target) > rank or target[0] not in (1, batch):
        node.refuse(f"shape {list(target)} mixes samples of a batch")
    return expanded(node, x, np.broadcast_shapes(x.shape, target[1:]))


@lowers("Tile")
def tile(node: OnnxNode) -> Tensor:
    """The whole value repeated along axes."""
    x, repeats = node.tensor(), node.integers(1)
    if len(repeats) != len(x.shape) + 1 or min(repeats) < 1:
        node.refuse(f"repeats {list(repeats)} do not fit {len(x.shape) + 1} axes")
    if repeats[0] != 1:
        node.refuse("it repeats the samples of a batch")
    for axis, count in enumerate(repeats[1:]):
        if count > 1:
            node.builder.check_size(node.name, math.prod(x.shape) * count)
            x = taken(node, x, axis, list(range(x.shape[axis])) * count)
    return x


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
