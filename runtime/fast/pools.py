"""Sum pooling of dot words, and counts of samples with non-zero values."""

from __future__ import annotations

from llvmlite import ir
from llvmlite.ir import IRBuilder, Value
from numba import njit

from spikec.ir.types import Array
from spikec.runtime.fast.vector import (
    I8,
    I32,
    I64,
    Loop,
    Values,
    const,
    fill32,
    fill_of,
    load,
    procedure,
    store,
    vec,
)


def _add_words(b: IRBuilder, args: Values) -> None:
    source, target, count = args
    v32 = vec(I32)
    loop = Loop(b, const(0), count, [])
    at = b.mul(loop.i, const(128))
    total = b.add(load(b, target, at, v32), load(b, source, at, v32))
    store(b, total, target, at)
    loop.close([])


add_words = procedure(3, _add_words)
"""(source, target, count): add vectors of 32 dot words; no byte may exceed 255."""


def _count_bytes(b: IRBuilder, args: Values) -> None:
    words, lanes, zero, out, step = args
    v64, half = vec(I8, 64), ir.IntType(64)
    zeros = b.bitcast(_splat64(b, zero), v64)
    counts = [ir.Constant(I64, 0)] * 4
    for part in range(2):
        differs = b.icmp_unsigned("!=", load(b, words, const(64 * part), v64), zeros)
        mine = b.and_(b.lshr(lanes, const(16 * part)), const(0xFFFF))
        bits = b.and_(b.bitcast(differs, half), _spread4(b, mine))
        for k in range(4):
            own = b.and_(b.lshr(bits, const(k)), const(0x1111111111111111))
            counts[k] = b.add(counts[k], b.ctpop(own))
    for k in range(4):
        store(b, b.trunc(counts[k], I8), out, b.mul(step, const(k)), 1)


def _splat64(b: IRBuilder, word: Value) -> Value:
    """A vector of 16 copies of a 32-bit word."""
    typ = vec(I32, 16)
    undefined = ir.Constant(typ, ir.Undefined)
    one = b.insert_element(undefined, b.trunc(word, I32), ir.Constant(I32, 0))
    return b.shuffle_vector(one, undefined, fill_of(typ, 0))


def _spread4(b: IRBuilder, mask: Value) -> Value:
    """Each of 16 bits four times."""
    bits = b.bitcast(b.trunc(mask, ir.IntType(16)), vec(ir.IntType(1), 16))
    four = b.shuffle_vector(
        bits,
        ir.Constant(bits.type, ir.Undefined),
        ir.Constant(vec(I32, 64), [k // 4 for k in range(64)]),
    )
    return b.bitcast(four, ir.IntType(64))


count_bytes = procedure(5, _count_bytes)
"""(words, lanes, zero word, out, step): for each of the four values of a vector of dot words, how
many samples in `lanes` differ from zero; bytes at `out + k * step`."""


@njit(cache=True, nogil=True)
def sum_pool(
    words: Array,
    zero_word: int,
    zero_out: int,
    lanes: Array,
    window: Array,
    out: Array,
    counts: Array,
) -> None:
    """Sums over windows of dot words.

    Args:
        words: (block, y, x, group, t, lane).
        zero_word: The word that stands for zeros.
        zero_out: The same of the result.
        lanes: Bit mask of the samples in each block.
        window: kernel, strides, pads (above, left), dilations: int64[8].
        out: Result, words like the input's.
        counts: Result (block, pixel, channel, t): samples with non-zero sums; bytes.
    """
    size = out.shape[3] * out.shape[4]
    steps = out.shape[4]
    for block in range(out.shape[0]):
        for y in range(out.shape[1]):
            for x in range(out.shape[2]):
                to = (
                    out.ctypes.data
                    + block * out.strides[0]
                    + y * out.strides[1]
                    + x * out.strides[2]
                )
                missing = 0
                fill32(to, size, 0)
                for ky in range(window[0]):
                    for kx in range(window[1]):
                        iy = y * window[2] + ky * window[6] - window[4]
                        ix = x * window[3] + kx * window[7] - window[5]
                        if not (0 <= iy < words.shape[1] and 0 <= ix < words.shape[2]):
                            missing += 1
                            continue
                        source = words.ctypes.data + block * words.strides[0]
                        add_words(source + iy * words.strides[1] + ix * words.strides[2], to, size)
                if missing > 0:
                    _add_zeros(out[block, y, x], missing * zero_word)
                pixel = y * out.shape[2] + x
                at = counts.ctypes.data + block * counts.strides[0] + pixel * counts.strides[1]
                for g in range(out.shape[3]):
                    for t in range(steps):
                        place = to + (g * steps + t) * 128
                        count_bytes(place, lanes[block], zero_out, at + 4 * g * steps + t, steps)


@njit(cache=True, nogil=True)
def _add_zeros(words: Array, zero_word: int) -> None:
    for g in range(words.shape[0]):
        for t in range(words.shape[1]):
            for lane in range(words.shape[2]):
                words[g, t, lane] += zero_word
