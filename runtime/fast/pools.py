"""Pooling of words of bytes and halves: sums, and maxima of running counts."""

from __future__ import annotations

import numpy as np
from llvmlite import ir
from llvmlite.ir import IRBuilder, Type, Value
from numba import njit

from spikec.ir.types import Array
from spikec.runtime.fast.vector import (
    I8,
    I16,
    I32,
    I64,
    LANES,
    Intrinsic,
    Loop,
    Values,
    const,
    function,
    load,
    procedure,
    splat,
    store,
    vec,
)

EVEN = 0x00FF00FF
"""The bytes of a word that are the low ones of its halves: those of channels 0 and 2."""
WORDS, HALVES = vec(I32), vec(I16, 2 * LANES)
"""The words of 32 samples, and the same as halves."""
LOWEST = -(1 << 15)


def _half(b: IRBuilder, words: Value, shift: Value, mask: Value, zero: Value) -> Value:
    """Halves: words shifted right, masked, less their zero point; the last two are words, too."""
    part = b.and_(b.lshr(words, _words(b, shift)), _words(b, mask))
    return b.sub(b.bitcast(part, HALVES), b.bitcast(_words(b, zero), HALVES))


def _words(b: IRBuilder, value: Value) -> Value:
    return splat(b, b.trunc(value, I32))


def _by_step(b: IRBuilder, steps: Value, body: Type | None = None) -> tuple[Loop, Value]:
    loop = Loop(b, const(0), steps, [] if body is None else [ir.Constant(body, None)])
    return loop, b.mul(loop.i, const(4 * LANES))


def _add_tap(b: IRBuilder, args: Values) -> None:
    source, target, steps, shift, mask, zero = args
    loop, at = _by_step(b, steps)
    value = _half(b, load(b, source, at, WORDS), shift, mask, zero)
    store(b, b.add(load(b, target, at, HALVES), value), target, at)
    loop.close([])


add_tap = procedure(6, _add_tap)
"""(source, target, steps, shift, mask, zero): add halves that words hold to sums of halves."""


def _count_tap(b: IRBuilder, args: Values) -> None:
    source, best, steps, shift, mask, zero, doubles = args
    loop, at = _by_step(b, steps, HALVES)
    double = splat(b, b.trunc(doubles, I16), 2 * LANES)
    value = _half(b, load(b, source, at, WORDS), shift, mask, zero)
    count = b.add(b.shl(loop.values[0], double), value)
    most = load(b, best, at, HALVES)
    store(b, b.select(b.icmp_signed(">", count, most), count, most), best, at)
    loop.close([count])


count_tap = procedure(7, _count_tap)
"""(source, best, steps, shift, mask, zero, doubles): raise maxima to a tap's running counts."""


def _differences(b: IRBuilder, args: Values) -> None:
    best, steps, doubles = args
    loop, at = _by_step(b, steps, HALVES)
    double = splat(b, b.trunc(doubles, I16), 2 * LANES)
    most = load(b, best, at, HALVES)
    store(b, b.sub(most, b.shl(loop.values[0], double)), best, at)
    loop.close([most])


differences = procedure(3, _differences)
"""(best, steps, doubles): what each step adds to running maxima, in their place."""


def _put_halves(b: IRBuilder, args: Values) -> None:
    source, target, steps, shift, mask, zero, first = args
    loop, at = _by_step(b, steps)
    value = b.add(load(b, source, at, HALVES), b.bitcast(_words(b, zero), HALVES))
    part = b.shl(b.and_(b.bitcast(value, WORDS), _words(b, mask)), _words(b, shift))
    none, before = ir.Constant(WORDS, None), load(b, target, at, WORDS)
    before = b.select(b.icmp_signed("!=", first, const(0)), none, before)
    store(b, b.or_(before, part), target, at)
    loop.close([])


put_halves = procedure(7, _put_halves)
"""(source, target, steps, shift, mask, zero, first): write halves as a part of words."""


def _fill_halves(b: IRBuilder, args: Values) -> None:
    target, steps, value = args
    loop, at = _by_step(b, steps)
    store(b, splat(b, b.trunc(value, I16), 2 * LANES), target, at)
    loop.close([])


fill_halves = procedure(3, _fill_halves)
"""(target, steps, value): set halves."""


def _count_equal(bits: int) -> Intrinsic:
    each = 32 // bits

    def write(b: IRBuilder, args: Values) -> Value:
        words, lanes, word = args
        numbers = vec(ir.IntType(bits), each * LANES // 2)
        wanted = b.bitcast(splat(b, b.trunc(word, I32), LANES // 2), numbers)
        total = const(0)
        for part in range(2):
            equal = b.icmp_unsigned("==", load(b, words, const(64 * part), numbers), wanted)
            mine = _spread(b, b.lshr(lanes, const(16 * part)), each)
            mask = ir.IntType(numbers.count)
            found = b.and_(b.bitcast(equal, mask), mine)
            every = sum(1 << each * k for k in range(LANES // 2))
            for k in range(each):
                own = b.and_(b.lshr(found, ir.Constant(mask, k)), ir.Constant(mask, every))
                count = b.zext(b.ctpop(own), I64) if mask.width < 64 else b.ctpop(own)
                total = b.add(total, b.shl(count, const(16 * k)))
        return total

    return function(3, write)


count_bytes, count_halves = _count_equal(8), _count_equal(16)
"""(words, lanes, word): how many of the samples in `lanes` have each number of a word; counts of 16
bits, one behind the other."""


def _spread(b: IRBuilder, mask: Value, times: int) -> Value:
    """Each of the lowest 16 bits several times."""
    bits = b.bitcast(b.trunc(mask, I16), vec(ir.IntType(1), 16))
    order = ir.Constant(vec(I32, 16 * times), [k // times for k in range(16 * times)])
    repeated = b.shuffle_vector(bits, ir.Constant(bits.type, ir.Undefined), order)
    return b.bitcast(repeated, ir.IntType(16 * times))


put8 = procedure(2, lambda b, args: store(b, b.trunc(args[1], I8), args[0], None, 1))
"""(addr, value): store as a byte."""
ctpop = function(1, lambda b, args: b.ctpop(args[0]))
"""(value): how many bits are set."""


@njit(cache=True, nogil=True, inline="always")
def _count(at: int, wide: int, lanes: int, zero: int, to: int, stride: int, units: int) -> None:
    """Count the samples of a vector of words that differ from zero, and those of 1 or -1.

    Bytes for the channels of the word, `stride` apart, at `to`, and `units` further.
    """
    one = 0x00010001 if wide != 0 else 0x01010101
    samples = ctpop(lanes)
    if wide != 0:
        zeros = count_halves(at, lanes, zero)
        ones = count_halves(at, lanes, one) + count_halves(at, lanes, -1)
    else:
        zeros = count_bytes(at, lanes, zero)
        ones = count_bytes(at, lanes, zero + one)
        ones += count_bytes(at, lanes, zero - one) if zero != 0 else 0
    for k in range(2 if wide != 0 else 4):
        place = to + k * stride
        put8(place, samples - (zeros >> 16 * k & 0xFFFF))
        put8(place + units, ones >> 16 * k & 0xFFFF)


@njit(cache=True, nogil=True, inline="always")
def _count_pixel(
    words: int, wide: int, lanes: int, zero: int, groups: int, steps: int, to: int, units: int
) -> None:
    """Count the events of a pixel's words into bytes (channel, t) at `to`."""
    for g in range(groups):
        channel = 4 * (g // 2) + g % 2 if wide != 0 else 4 * g
        for t in range(steps):
            at, place = words + 4 * LANES * (g * steps + t), to + channel * steps + t
            _count(at, wide, lanes, zero, place, steps * (2 if wide != 0 else 1), units)


@njit(cache=True, nogil=True, inline="always")
def _sources(words: Array, window: Array, block: int, y: int, x: int, out: Array) -> int:
    """Addresses of the pixels of a window that lie in the image; how many."""
    count = 0
    for ky in range(window[0]):
        for kx in range(window[1]):
            iy = y * window[2] + ky * window[6] - window[4]
            ix = x * window[3] + kx * window[7] - window[5]
            if 0 <= iy < words.shape[1] and 0 <= ix < words.shape[2]:
                at = words.ctypes.data + block * words.strides[0]
                out[count] = at + iy * words.strides[1] + ix * words.strides[2]
                count += 1
    return count


@njit(cache=True, nogil=True)
def sum_pool(
    words: Array,
    zero_word: int,
    zero_out: int,
    wide: int,
    wide_in: int,
    lanes: Array,
    window: Array,
    scratch: Array,
    out: Array,
    counts: Array,
) -> None:
    """Sums over windows.

    Args:
        words: (block, y, x, group, t, lane), of bytes or, with `wide_in`, of halves.
        zero_word: The word that stands for zeros.
        zero_out: The same of the result.
        wide: Whether the result's words are of halves.
        wide_in: The same of what is pooled; `wide` then, too.
        lanes: Bit mask of the samples in each block.
        window: kernel, strides, pads (above, left), dilations: int64[8].
        scratch: Halves of a word (t, 2 lane).
        out: Result, words like the input's.
        counts: Results (block, pixel, channel, t), how many samples differ from zero and how many
            are 1 or -1; bytes.
    """
    steps, groups = out.shape[4], out.shape[3]
    sources = np.empty(window[0] * window[1], np.int64)
    parts = 1 if wide_in != 0 else 2
    mask = -1 if wide_in != 0 else EVEN
    unit, sums = 4 * LANES * steps, scratch.ctypes.data
    for block in range(out.shape[0]):
        for y in range(out.shape[1]):
            for x in range(out.shape[2]):
                taps = _sources(words, window, block, y, x, sources)
                to = out[block, y, x].ctypes.data
                for g in range(words.shape[3]):
                    for part in range(parts):
                        fill_halves(sums, steps, 0)
                        for k in range(taps):
                            at = sources[k] + g * unit
                            add_tap(at, sums, steps, 8 * part, mask, zero_word & EVEN)
                        if wide != 0:
                            put_halves(sums, to + (parts * g + part) * unit, steps, 0, -1, 0, 1)
                        else:
                            zero = zero_out & EVEN
                            put_halves(sums, to + g * unit, steps, 8 * part, mask, zero, 1 - part)
                place = counts[0, block, y * out.shape[2] + x].ctypes.data
                _count_pixel(
                    to, wide, lanes[block], zero_out, groups, steps, place, counts.strides[0]
                )


@njit(cache=True, nogil=True)
def max_pool(
    words: Array,
    zero_word: int,
    wide: int,
    doubles: int,
    lanes: Array,
    window: Array,
    scratch: Array,
    out: Array,
    counts: Array,
) -> None:
    """Spikes whose running counts are the maxima of those of windows.

    Args:
        words: (block, y, x, group, t, lane), of bytes or, with `wide`, of halves; as the result's.
        zero_word: The word that stands for zeros.
        wide: Whether words are of halves.
        doubles: 1 where counts double from step to step, else 0.
        lanes: Bit mask of the samples in each block.
        window: As for `sum_pool`.
        scratch: As for `sum_pool`.
        out: As for `sum_pool`.
        counts: As for `sum_pool`.
    """
    steps, groups = out.shape[4], out.shape[3]
    sources = np.empty(window[0] * window[1], np.int64)
    mask, zero = (-1, 0) if wide != 0 else (EVEN, zero_word & EVEN)
    unit, best = 4 * LANES * steps, scratch.ctypes.data
    for block in range(out.shape[0]):
        for y in range(out.shape[1]):
            for x in range(out.shape[2]):
                taps = _sources(words, window, block, y, x, sources)
                to = out[block, y, x].ctypes.data
                for g in range(groups):
                    for part in range(1 if wide != 0 else 2):
                        fill_halves(best, steps, LOWEST)
                        for k in range(taps):
                            at = sources[k] + g * unit
                            count_tap(at, best, steps, 8 * part, mask, zero, doubles)
                        differences(best, steps, doubles)
                        put_halves(best, to + g * unit, steps, 8 * part, mask, zero, 1 - part)
                place = counts[0, block, y * out.shape[2] + x].ctypes.data
                _count_pixel(
                    to, wide, lanes[block], zero_word, groups, steps, place, counts.strides[0]
                )
