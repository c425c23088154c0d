"""Spike words: how a block of samples is laid out for the compiled kernels.

`words[block, y, x, group, t, lane]`: a block is 32 samples, one per SIMD lane, so strides, padding
and odd sizes are only address arithmetic. In memory the groups of a pixel lie side by side, or,
where readers want one group of many pixels, the pixels of a group in a row. A word packs a group
of channels of one sample and step:

`lut` (uint16): a mixed-radix number below 64 that indexes tables of partial weight sums; six
unsigned channels, or three signed ones and half of a fourth.
`dot` (uint32): four bytes (value + zero point) for a byte dot product.
`wide` (uint32): two int16; channels 0 and 2 of four in the first word, 1 and 3 in the second.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numba import njit
from numpy.typing import DTypeLike

from spikec.ir.types import Array
from spikec.runtime.fast.matrix import words_slack
from spikec.runtime.fast.tiles import DOT, LUT, PAIR, QUAD, TABLE, VECTOR_BYTES, WIDE
from spikec.runtime.fast.vector import LANES

BYTE = 255
"""Largest number of an unsigned byte."""
HALF = (1 << 15) - 1
"""Largest number of a half, in both directions."""


@dataclass(frozen=True, eq=False)
class Coding:
    """How the spikes of some channels are packed into words.

    Channel c adds `pos_step[c]` to the word of group `pos_group[c]` per +1 spike and `neg_step[c]`
    to the word of group `neg_group[c]` per -1 spike, starting from `zero_word`.
    """

    kind: int
    channels: int
    signed: bool
    groups: int
    pos_group: Array
    pos_step: Array
    neg_group: Array
    neg_step: Array
    zero_word: int = 0
    ternary: int = 0
    """Channels below this are base-3 digits (signed lut)."""
    entries: int = TABLE
    """What lookup words stay below."""
    by_group: bool = False
    """Whether the pixels of a row lie side by side for each group."""

    @property
    def dtype(self) -> type[np.unsignedinteger]:
        """Element type of the words."""
        return np.uint16 if self.kind == LUT else np.uint32

    @property
    def quad_words(self) -> int:
        """Words of four channels: of bytes 1, of halves 2; 0 for lookup words."""
        return {LUT: 0, DOT: 1, WIDE: 2}[self.kind]

    @property
    def zero_point(self) -> int:
        """What is added to each value of dot words."""
        return self.zero_word & 255 if self.kind == DOT else 0


def dot_coding(channels: int, zero_point: int) -> Coding:
    """Four channels a word, one byte each, holding value + zero_point."""
    c = np.arange(channels)
    step = np.int64(1) << (8 * (c % 4))
    zero = sum(zero_point << (8 * k) for k in range(4))
    groups = -(-channels // 4)
    return Coding(DOT, channels, zero_point > 0, groups, c // 4, step, c // 4, -step, zero)


def wide_coding(channels: int) -> Coding:
    """Two channels a word, 16 bits each."""
    c = np.arange(channels)
    step = np.int64(1) << (16 * (c % QUAD // 2))
    group, groups = 2 * (c // QUAD) + c % 2, 2 * -(-channels // QUAD)
    return Coding(WIDE, channels, True, groups, group, step, group, -step)


def number_coding(channels: int, low: int, high: int) -> Coding:
    """Coding of numbers from `low`, at most 0, to `high`: as bytes where they fit."""
    return dot_coding(channels, -low) if high - low <= BYTE else wide_coding(channels)


def lut_coding(channels: int, signed: bool, pairs: bool = False) -> Coding:
    """Lookup coding: six unsigned channels a word, or three signed ones plus half of one.

    Of `pairs` two signed ones, so that a pair of channels never lies in two words.
    """
    c = np.arange(channels)
    if signed and pairs:
        group, step = c // PAIR, np.int64(3) ** (c % PAIR)
        steps, groups = (group, step, group, 2 * step), -(-channels // PAIR)
        return Coding(
            *(LUT, channels, True, groups, *steps),
            ternary=channels,
            entries=3**PAIR,
            by_group=True,
        )
    if not signed:
        step, none = np.int64(1) << (c % 6), np.zeros_like(c)
        return Coding(LUT, channels, False, -(-channels // 6), c // 6, step, none, none)
    ternary, extra = _signed_split(channels)
    whole = min(channels, 3 * ternary)
    pos_group, pos_step = np.zeros(channels, np.int64), np.zeros(channels, np.int64)
    pos_group[:whole] = c[:whole] // 3
    pos_step[:whole] = 3 ** (c[:whole] % 3)
    neg_group, neg_step = pos_group.copy(), 2 * pos_step
    slots = [(g, 27) for g in range(ternary)]
    slots += [(ternary + e, 1 << k) for e in range(extra) for k in range(6)]
    for i, channel in enumerate(range(whole, channels)):
        pos_group[channel], pos_step[channel] = slots[2 * i]
        neg_group[channel], neg_step[channel] = slots[2 * i + 1]
    groups = ternary + extra
    return Coding(
        LUT, channels, True, groups, pos_group, pos_step, neg_group, neg_step, ternary=whole
    )


def _signed_split(channels: int) -> tuple[int, int]:
    """(ternary groups, extra groups of six half channels) with the fewest groups."""
    best = (-(-channels // 3), 0)
    for ternary in range(-(-channels // 3)):
        halves = 2 * max(0, channels - 3 * ternary)
        extra = -(-max(0, halves - ternary) // 6)
        if ternary + extra < sum(best):
            best = (ternary, extra)
    return best


def digit_of(coding: Coding, channel: int) -> list[tuple[int, Array]]:
    """For each word group that codes a channel: the spike that each lookup index stands for."""
    entry = np.arange(TABLE)
    up, down = entry // coding.pos_step[channel], coding.neg_step[channel]
    pos, neg = int(coding.pos_group[channel]), int(coding.neg_group[channel])
    if channel < coding.ternary:
        return [(pos, np.array([0, 1, -1])[up % 3])]
    digits = [(pos, up % 2)]
    return [*digits, (neg, -(entry // down % 2))] if coding.signed else digits


def aligned(shape: tuple[int, ...], dtype: DTypeLike, slack: int = 0) -> Array:
    """An uninitialised array whose data starts on a cache line, `slack` bytes behind it."""
    size = math.prod(shape) * np.dtype(dtype).itemsize
    raw = np.empty(size + 64 + slack, np.uint8)
    start = -raw.ctypes.data % 64
    array: Array = raw[start : start + size].view(dtype).reshape(shape)
    return array


def lane_masks(samples: int) -> Array:
    """Bit mask of the lanes of each block that hold samples (block,)."""
    blocks = -(-samples // LANES)
    masks = np.full(blocks, (1 << LANES) - 1, np.int64)
    if samples % LANES:
        masks[-1] = (1 << samples % LANES) - 1
    return masks


def words_shape(
    coding: Coding, samples: int, space: tuple[int, int], steps: int
) -> tuple[int, ...]:
    """Shape of the words of some samples."""
    return (-(-samples // LANES), *space, coding.groups, steps, LANES)


def memory_order(coding: Coding | None) -> tuple[int, ...]:
    """The axes of words as they lie in memory; swapping them twice is to leave them."""
    return (0, 1, 3, 2, 4, 5) if coding is not None and coding.by_group else (0, 1, 2, 3, 4, 5)


def group_stride(coding: Coding, width: int, steps: int) -> int:
    """Bytes from a group of a pixel to its next one."""
    return steps * VECTOR_BYTES[coding.kind] * (width if coding.by_group else 1)


def pack(values: Array, coding: Coding) -> Array:
    """Words of values (steps, samples, channels, height, width): spikes, or bytes for dot words."""
    steps, samples, _, height, width = values.shape
    shape = words_shape(coding, samples, (height, width), steps)
    order = memory_order(coding)
    out = aligned(tuple(shape[k] for k in order), coding.dtype, words_slack(steps))
    out = out.transpose(order)
    out.fill(coding.zero_word)
    steps_of = (coding.pos_group, coding.pos_step, coding.neg_group, coding.neg_step)
    rows = np.stack([np.asarray(part, np.int64) for part in steps_of])
    if coding.kind == WIDE:
        _pack_wide(np.ascontiguousarray(values), out.view(np.int16))
    else:
        _pack(np.ascontiguousarray(values), rows, out)
    return out


@njit(cache=True, nogil=True)
def _pack_wide(values: Array, out: Array) -> None:
    """Into words seen as halves (block, y, x, group, t, 2 lane + half)."""
    steps, samples, channels, height, width = values.shape
    for t in range(steps):
        for n in range(samples):
            for c in range(channels):
                group, half = 2 * (c // 4) + c % 2, c % 4 // 2
                for y in range(height):
                    for x in range(width):
                        out[n // 32, y, x, group, t, n % 32 * 2 + half] = values[t, n, c, y, x]


@njit(cache=True, nogil=True)
def _pack(values: Array, rows: Array, out: Array) -> None:
    steps, samples, channels, height, width = values.shape
    for t in range(steps):
        for n in range(samples):
            for c in range(channels):
                for y in range(height):
                    for x in range(width):
                        value = np.int64(values[t, n, c, y, x])
                        k = 0 if value > 0 else 2
                        step = rows[k + 1, c] * abs(value)
                        if value != 0:
                            out[n // 32, y, x, rows[k, c], t, n % 32] += step


def unpack(words: Array, coding: Coding, samples: int) -> Array:
    """Values (steps, samples, channels, height, width): int8 of lut words, else int16."""
    _, height, width, _, steps, _ = words.shape
    shape = (steps, samples, coding.channels, height, width)
    out = np.empty(shape, np.int8 if coding.kind == LUT else np.int16)
    if coding.kind == DOT:
        _unpack_dot(words, coding.zero_point, out)
        return out
    if coding.kind == WIDE:
        _unpack_wide(words.view(np.int16), out)
        return out
    steps_of = (coding.pos_group, coding.pos_step, coding.neg_group, coding.neg_step)
    rows = np.stack([np.asarray(part, np.int64) for part in steps_of])
    _unpack_lut(words, rows, coding.ternary, coding.signed, out)
    return out


@njit(cache=True, nogil=True)
def _unpack_dot(words: Array, zero_point: int, out: Array) -> None:
    steps, samples, channels, height, width = out.shape
    for t in range(steps):
        for n in range(samples):
            for c in range(channels):
                for y in range(height):
                    for x in range(width):
                        word = np.int64(words[n // 32, y, x, c // 4, t, n % 32])
                        out[t, n, c, y, x] = (word >> (8 * (c % 4)) & 255) - zero_point


@njit(cache=True, nogil=True)
def _unpack_wide(words: Array, out: Array) -> None:
    steps, samples, channels, height, width = out.shape
    for t in range(steps):
        for n in range(samples):
            for c in range(channels):
                group, half = 2 * (c // 4) + c % 2, c % 4 // 2
                for y in range(height):
                    for x in range(width):
                        out[t, n, c, y, x] = words[n // 32, y, x, group, t, n % 32 * 2 + half]


@njit(cache=True, nogil=True)
def _unpack_lut(words: Array, rows: Array, ternary: int, signed: bool, out: Array) -> None:
    steps, samples, channels, height, width = out.shape
    for t in range(steps):
        for n in range(samples):
            for c in range(channels):
                for y in range(height):
                    for x in range(width):
                        plus = np.int64(words[n // 32, y, x, rows[0, c], t, n % 32])
                        if c < ternary:
                            digit = plus // rows[1, c] % 3
                            out[t, n, c, y, x] = digit if digit < 2 else -1
                            continue
                        value = plus // rows[1, c] % 2
                        if signed:
                            minus = np.int64(words[n // 32, y, x, rows[2, c], t, n % 32])
                            value -= minus // rows[3, c] % 2
                        out[t, n, c, y, x] = value
