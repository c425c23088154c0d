"""Operations that only move elements, as boxes and what fills them."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from spikec.backends.lowering.records import Pick, Piece, Value
from spikec.ir import Node, op_of
from spikec.ir.ops.routing.concat import Concat
from spikec.ir.ops.routing.gather import Gather
from spikec.ir.ops.routing.pad import Pad
from spikec.ir.ops.routing.slice import Slice
from spikec.ir.ops.routing.transpose import Transpose
from spikec.ir.ops.routing.upsample import Upsample


def _whole(source: Value, shape: tuple[int, ...], picks: Sequence[Pick]) -> Piece:
    return Piece(source, (0,) * len(shape), shape, tuple(picks))


def _slice(node: Node, sources: Sequence[Value]) -> list[Piece]:
    op = op_of(node, Slice)
    picks = tuple(map(Pick, range(len(node.type.shape)), op.starts, op.steps))
    return [_whole(sources[0], node.type.shape, picks)]


def _gather(node: Node, sources: Sequence[Value]) -> list[Piece]:
    (source,), op = sources, op_of(node, Gather)
    picks = [Pick(number) for number in range(len(source.shape))]
    picks[op.axis] = Pick(op.axis, table=op.indices)
    return [_whole(source, node.type.shape, picks)]


def _transpose(node: Node, sources: Sequence[Value]) -> list[Piece]:
    perm = op_of(node, Transpose).perm
    picks = [Pick(perm.index(axis)) for axis in range(len(perm))]
    return [_whole(sources[0], node.type.shape, picks)]


def _upsample(node: Node, sources: Sequence[Value]) -> list[Piece]:
    picks = [Pick(axis, repeat=factor) for axis, factor in enumerate(op_of(node, Upsample).factors)]
    return [_whole(sources[0], node.type.shape, picks)]


def _straight(source: Value, begins: tuple[int, ...]) -> Piece:
    picks = tuple(Pick(axis) for axis in range(len(source.shape)))
    return Piece(source, begins, source.shape, picks)


def _pad(node: Node, sources: Sequence[Value]) -> list[Piece]:
    return [_straight(sources[0], op_of(node, Pad).pads[: len(node.type.shape)])]


def _concat(node: Node, sources: Sequence[Value]) -> list[Piece]:
    axis, pieces, begin = op_of(node, Concat).axis, [], 0
    for source in sources:
        begins = tuple(begin if number == axis else 0 for number in range(len(source.shape)))
        pieces.append(_straight(source, begins))
        begin += source.shape[axis]
    return pieces


ROUTES: dict[str, Callable[[Node, Sequence[Value]], list[Piece]]] = {
    "concat": _concat,
    "gather": _gather,
    "pad": _pad,
    "slice": _slice,
    "transpose": _transpose,
    "upsample": _upsample,
}
"""What makes the pieces of a node that only moves elements, but for reshape."""
