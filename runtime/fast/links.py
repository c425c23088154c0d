"""Links: the synapses of a compiled layer, cut into pieces with tables for the inner tiles."""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np

from spikec.ir.types import Array
from spikec.runtime.fast.matrix import DEPTH, GROUPS, tile_table
from spikec.runtime.fast.neurons import I16_MAX
from spikec.runtime.fast.tiles import DOT, LUT, PAIR, QUAD, TABLE, TILES, WIDE
from spikec.runtime.fast.words import HALF, Coding, digit_of

L1_BYTES = 24576
"""Bytes of words that a chunk of pieces may touch before channels are cycled."""
INT8 = 127
"""Largest number of a signed byte."""
LARGEST_RUN = 5
"""Taps in a row that matrix tiles may take at once: tables grow with the square."""


@dataclass(frozen=True, eq=False)
class Link:
    """One linear input of a layer.

    Attributes:
        weight: (out, in / groups, height, width) integers.
        exponents: How far its sums are shifted left (out,), or None.
        coding: Of the input words.
        groups: Channel groups.
        strides: Down and right.
        pads: Above and on the left; what lies below and on the right follows from the result.
        dilations: Down and right.
        inside: Whether no tap of any result lies outside the image.
        width: Of the image.
    """

    weight: Array
    exponents: Array | None
    coding: Coding
    groups: int = 1
    strides: tuple[int, int] = (1, 1)
    pads: tuple[int, int] = (0, 0)
    dilations: tuple[int, int] = (1, 1)
    inside: bool = False
    width: int = 1


@dataclass
class Piece:
    """A tap of a link, restricted to some word groups, or a row of whole taps."""

    link: int
    dy: int
    dx: int
    group: int
    groups: int
    table: Array
    """[pair, tap * groups, ...]"""
    shifts: Array
    """[pair, 2]: first word group to read, and how many if `groups` is -1."""
    zero_sum: Array
    """[tap, padded out]: zero-point contribution."""
    bound: Array
    """[padded out]: largest absolute contribution."""
    kind: int
    """LUT, DOT, TILES or WIDE."""
    shifted: bool = False
    """Whether its link has exponents: no other link is then summed in its chunks."""
    chunk: int = 0
    taps: int = 1


def table_bytes(link: Link) -> int:
    """Size of a link's lookup tables."""
    outs, per_group, *kernel = link.weight.shape
    groups = -(-link.coding.groups * per_group // link.coding.channels)
    return outs * groups * int(np.prod(kernel)) * 2 * TABLE


def pieces_of_link(
    index: int, link: Link, padded: int, step_bytes: int, tiles: bool = False
) -> list[Piece]:
    """Pieces of a link; dot weights beyond int8 are summed from several int8 parts.

    Args:
        index: Of the link in its layer.
        link: The link.
        padded: Output channels, rounded up.
        step_bytes: Bytes of a word group, all steps.
        tiles: Whether matrix tiles may be used.
    """
    pieces = _unshifted_pieces(index, link, padded, step_bytes, tiles)
    for piece in pieces:
        piece.shifted = link.exponents is not None
    return pieces


def _unshifted_pieces(
    index: int, link: Link, padded: int, step_bytes: int, tiles: bool
) -> list[Piece]:
    taps, limit = dense_taps(link, padded), max(1, L1_BYTES // step_bytes)
    if link.coding.kind == LUT:
        return _pieces_of_taps(index, link, taps, limit)
    pieces: list[Piece] = []
    while not pieces or taps.any():
        part = np.clip(taps, -limit_of(link.coding) - 1, limit_of(link.coding))
        if tiles and fits_tiles(link):
            pieces += _tile_pieces(index, link, part)
        else:
            pieces += _pieces_of_taps(index, link, part, limit)
        taps -= part
    return pieces


def limit_of(coding: Coding) -> int:
    """Largest weight that dot products of a coding take at once."""
    return HALF if coding.kind == WIDE else INT8


def fits_tiles(link: Link) -> bool:
    """Whether matrix tiles suit a link: not for many channel groups, mostly zeros to a tile."""
    return link.coding.kind == DOT and (link.groups == 1 or link.coding.channels <= DEPTH)


def _tile_pieces(index: int, link: Link, taps: Array) -> list[Piece]:
    """Rows of taps whose words lie side by side as one piece where that fills tiles better."""
    groups, (down, right) = link.coding.groups, link.dilations
    wide = taps.shape[1]
    merge = right == 1 and groups % GROUPS != 0
    size = (wide if link.inside else min(wide, LARGEST_RUN)) if merge else 1
    shifts = np.zeros((taps.shape[2] // PAIR, 2), np.int64)
    pieces: list[Piece] = []
    for ky in range(taps.shape[0]):
        for kx in range(0, wide, size):
            run = taps[ky, kx : kx + size]
            dy, dx = ky * down - link.pads[0], kx * right - link.pads[1]
            zero_sum = link.coding.zero_point * run.sum(axis=2)
            bound = np.abs(run).sum(axis=(0, 2))
            table = tile_table(run, groups, link.inside)
            piece = Piece(index, dy, dx, 0, groups, table, shifts, zero_sum, bound, TILES)
            pieces.append(replace(piece, taps=len(run)))
    return pieces


def dense_taps(link: Link, padded: int) -> Array:
    """Weights as [ky, kx, padded out, in], zero between channel groups."""
    w = np.asarray(link.weight, np.int32)
    outs, per_group, kh, kw = w.shape
    taps = np.zeros((kh, kw, padded, link.coding.channels), np.int32)
    share = outs // link.groups
    for g in range(link.groups):
        rows = slice(g * share, (g + 1) * share)
        columns = slice(g * per_group, (g + 1) * per_group)
        taps[:, :, rows, columns] = w[rows].transpose(2, 3, 0, 1)
    return taps


def _pieces_of_taps(index: int, link: Link, taps: Array, limit: int) -> list[Piece]:
    pieces: list[Piece] = []
    runs = _local_runs(link, taps.shape[2]) if link.groups > 1 else None
    for ky in range(taps.shape[0]):
        row = [
            piece
            for kx in range(taps.shape[1])
            for piece in _pieces_of_tap(index, link, ky, kx, taps[ky, kx], limit, runs)
        ]
        side_by_side = link.groups == 1 and link.coding.groups * taps.shape[1] <= limit
        if link.coding.by_group:
            row = [replace(piece, groups=1) for piece in row]
            side_by_side = True
        if side_by_side and link.dilations[1] == 1:
            row = _merge_row(row)
        pieces += row
    return pieces


def _merge_row(row: list[Piece]) -> list[Piece]:
    """Whole taps that are neighbours in x read contiguous words: one piece."""
    bound = np.sum([p.bound for p in row], axis=0)
    if len(row) == 1 or (row[0].kind == LUT and np.max(bound) > I16_MAX):
        return row
    table = np.concatenate([p.table for p in row], axis=1)
    zero_sum = np.concatenate([p.zero_sum for p in row])
    merged = replace(row[0], table=table, zero_sum=zero_sum, bound=bound, taps=len(row))
    return [merged]


def _pieces_of_tap(
    index: int, link: Link, ky: int, kx: int, tap: Array, limit: int, runs: list[Array] | None
) -> list[Piece]:
    """A tap as one piece, or as several when it has more than `limit` word groups."""
    coding = link.coding
    table = _tap_table(coding, tap)
    bound = np.abs(tap).sum(axis=1)
    zero_sum = coding.zero_point * tap.sum(axis=1)[None]
    dy = ky * link.dilations[0] - link.pads[0]
    dx = kx * link.dilations[1] - link.pads[1]
    shifts = np.zeros((tap.shape[0] // PAIR, 2), np.int64)
    base = Piece(index, dy, dx, 0, coding.groups, table, shifts, zero_sum, bound, coding.kind)
    if runs is not None:
        return [_local_piece(base, run, k == 0) for k, run in enumerate(runs)]
    edges, bounds = _cut(coding, tap, bound, limit)
    return [
        replace(
            base,
            group=lo,
            groups=hi - lo,
            table=table[:, lo:hi],
            zero_sum=zero_sum if lo == 0 else np.zeros_like(zero_sum),
            bound=part,
        )
        for lo, hi, part in (
            (*ends, part) for ends, part in zip(pairwise(edges), bounds, strict=True)
        )
    ]


def _cut(coding: Coding, tap: Array, bound: Array, limit: int) -> tuple[list[int], list[Array]]:
    """Edges between parts of at most `limit` word groups that stay in 16 bits; their bounds."""
    parts = -(-coding.groups // limit)
    while True:
        edges = [coding.groups * i // parts for i in range(parts + 1)]
        bounds = [bound]
        if parts > 1:
            bounds = [_group_bound(coding, tap, lo, hi) for lo, hi in pairwise(edges)]
        if coding.kind != LUT or max(part.max(initial=0) for part in bounds) <= I16_MAX:
            return edges, bounds
        parts += 1
        if parts > coding.groups:
            raise OverflowError("weights too large for the lookup kernel")


def _tap_table(coding: Coding, tap: Array) -> Array:
    """Table of one tap [pair, group, 2, .]: lut 64 int16, dot four int8, wide two int16."""
    padded = tap.shape[0]
    if coding.kind == LUT:
        table = _lookups(coding, tap)
    elif coding.kind == WIDE:
        table = np.zeros((padded, coding.groups, 2), np.int16)
        c = np.arange(coding.channels)
        table[:, coding.pos_group, c % QUAD // 2] = tap
    else:
        table = np.zeros((padded, coding.groups * 4), np.int8)
        table[:, : coding.channels] = tap
        table = table.reshape(padded, coding.groups, 4)
    pairs = table.reshape(padded // PAIR, PAIR, coding.groups, -1)
    return np.ascontiguousarray(pairs.transpose(0, 2, 1, 3))


def _lookups(coding: Coding, tap: Array) -> Array:
    """Partial weight sums [padded out, group, entry] of one tap."""
    sums = np.zeros((len(tap), coding.groups, TABLE), np.int32)
    for channel, column in enumerate(tap.T):
        outs = np.flatnonzero(column)
        for group, digits in digit_of(coding, channel):
            sums[outs, group] += column[outs, None].astype(np.int32) * digits.astype(np.int32)
    if max(sums.max(initial=0), -sums.min(initial=0)) > I16_MAX:
        raise OverflowError("weights too large for the lookup kernel")
    return sums.astype(np.int16)


def _local_runs(link: Link, padded: int) -> list[Array]:
    """Runs of word groups with a channel pair's own inputs: arrays [pair] of (first, count)."""
    coding, outs = link.coding, len(link.weight)
    share, per_group = outs // link.groups, link.weight.shape[1]
    runs: list[list[tuple[int, int]]] = []
    for c in range(0, padded, PAIR):
        owners = sorted({o // share for o in range(c, min(c + PAIR, outs))})
        inputs = np.array([g * per_group + k for g in owners for k in range(per_group)], np.int64)
        own = set(coding.pos_group[inputs].tolist())
        own |= set(coding.neg_group[inputs].tolist()) if coding.signed else set()
        mine: list[tuple[int, int]] = []
        for g in sorted(own):
            if mine and g == sum(mine[-1]):
                mine[-1] = (mine[-1][0], mine[-1][1] + 1)
            else:
                mine.append((g, 1))
        runs.append(mine)
    depth = max(len(mine) for mine in runs)
    return [
        np.array([mine[k] if k < len(mine) else (0, 0) for mine in runs], np.int64)
        for k in range(depth)
    ]


def _local_piece(base: Piece, run: Array, first: bool) -> Piece:
    """Piece of a grouped link that reads one run of word groups per channel pair."""
    shape = (base.table.shape[0], int(run[:, 1].max()), *base.table.shape[2:])
    small = np.zeros(shape, base.table.dtype)
    for p, (start, count) in enumerate(run):
        small[p, :count] = base.table[p, start : start + count]
    if base.kind == LUT and base.bound.max(initial=0) > I16_MAX:
        raise OverflowError("weights too large for the lookup kernel")
    zero_sum = base.zero_sum if first else np.zeros_like(base.zero_sum)
    return replace(base, groups=-1, table=small, shifts=run, zero_sum=zero_sum)


def _group_bound(coding: Coding, tap: Array, lo: int, hi: int) -> Array:
    """Largest absolute sum that the word groups [lo, hi) can add."""
    mine = (coding.pos_group >= lo) & (coding.pos_group < hi)
    if coding.signed:
        mine |= (coding.neg_group >= lo) & (coding.neg_group < hi)
    return np.asarray(np.abs(tap[:, mine]).sum(axis=1))


def assign_chunks(pieces: list[Piece], step_bytes: int) -> list[int]:
    """Number the pieces into chunks of one kind and of one shift each; returns the kinds.

    Chunks of other kinds than TILES fit L1, and lookups stay in 16 bits.
    """
    kinds: list[int] = []
    shifted: int | None = None
    used, bound = 0, np.zeros(1, np.int64)
    for piece in pieces:
        size = piece.table.shape[1] * step_bytes
        total = piece.bound + bound
        full = piece.kind != TILES and used + size > L1_BYTES
        full |= piece.kind == LUT and np.max(total) > I16_MAX
        link = piece.link if piece.shifted else None
        if not kinds or piece.kind != kinds[-1] or full or link != shifted:
            kinds.append(piece.kind)
            shifted = link
            used, total = 0, piece.bound
        piece.chunk = len(kinds) - 1
        used, bound = used + size, total
    return kinds
