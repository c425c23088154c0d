"""Inner tiles of compiled layers: table lookups and dot products summed in registers.

A segment is eight int64: words address, table address, table bytes per channel pair, groups (or
-1), address of int64[pair, 2] (byte offset into the words, groups if -1), index of its piece,
first and last + 1 of the piece's taps that lie in the image.
"""

from __future__ import annotations

import functools
from collections.abc import Callable

import llvmlite.binding as llvm
import numpy as np
from llvmlite import ir
from llvmlite.ir import IRBuilder, Value
from numpy.typing import NDArray

from spikec.runtime.fast.machine import Kernel
from spikec.runtime.fast.vector import (
    FEATURES,
    I8,
    I16,
    I32,
    I64,
    LANES,
    Loop,
    Values,
    const,
    fill_of,
    load,
    splat,
    store,
    vec,
)

LUT, DOT, TILES, WIDE, ROWS = range(5)
"""Kinds of sums: lookups in tables, dot products of bytes, matrix tiles, dot products of 16 bits.
Words are coded for the first (an index), for the next two (four bytes), or for the last (two
halves)."""
Dot = Callable[[IRBuilder, Value, Value, Value], Value]
"""Adds the dot product of words with weights to accumulators."""
PAIR = 2
"""Output channels of a register tile."""
QUAD = 4
"""Channels of a word of bytes, or of two words of halves."""
TABLE = 64
"""Entries of a lookup table."""
SEGMENT = 8
"""Columns of a segment."""


def lut_step(
    b: IRBuilder, accs: Values, words: Value, table: Value, steps: int, half: bool
) -> list[Value]:
    """Add table lookups for one group; PAIR channels x `steps` time steps."""
    vt = vec(I16)
    lookup = b.module.declare_intrinsic(
        "llvm.x86.avx512.vpermi2var.hi.512", (), ir.FunctionType(vt, [vt] * 3)
    )
    low = [load(b, table, const(128 * c), vt) for c in range(PAIR)]
    if half:
        lookup = b.module.declare_intrinsic(
            "llvm.x86.avx512.permvar.hi.512", (), ir.FunctionType(vt, [vt] * 2)
        )
    high = [load(b, table, const(128 * c + 64), vt) for c in range(PAIR)]
    out = list(accs)
    for t in range(steps):
        index = load(b, words, const(64 * t), vt)
        for c in range(PAIR):
            k = c * steps + t
            operands = [low[c], index] if half else [low[c], index, high[c]]
            out[k] = b.add(accs[k], b.call(lookup, operands))
    return out


def _dot4(b: IRBuilder, acc: Value, word: Value, weight: Value) -> Value:
    """Add the dot product of the four u8 of `word` with the four s8 of `weight`."""
    v16 = vec(I32, 16)
    if FEATURES.vnni:
        operand = vec(I8, 64) if llvm.llvm_version_info[0] >= 22 else v16
        dot = b.module.declare_intrinsic(
            "llvm.x86.avx512.vpdpbusd.512", (), ir.FunctionType(v16, [v16, operand, operand])
        )
        wide = splat(b, weight, 16)
        return b.call(dot, [acc, b.bitcast(word, operand), b.bitcast(wide, operand)])
    wide = b.sext(b.bitcast(weight, vec(I8, 4)), vec(I16, 4))
    for parity in (0, 1):
        acc = b.add(acc, _pair_products(b, word, wide, parity))
    return acc


def _pair_products(b: IRBuilder, word: Value, wide: Value, parity: int) -> Value:
    """Sum of bytes `parity` and `parity + 2` times their weights."""
    v16, v32, pairs = vec(I32, 16), vec(I32, 32), vec(I16, 32)
    shifted = b.lshr(word, fill_of(v16, 8 * parity))
    values = b.bitcast(b.and_(shifted, fill_of(v16, 0x00FF00FF)), pairs)
    order = ir.Constant(v32, [parity, parity + 2] * 16)
    factors = b.shuffle_vector(wide, ir.Constant(wide.type, ir.Undefined), order)
    return products(b, values, factors)


def _dot2(b: IRBuilder, acc: Value, word: Value, weight: Value) -> Value:
    """Add the dot product of the two s16 of `word` with the two of `weight`."""
    return pair_dot(b, acc, word, splat(b, weight, 16))


def pair_dot(b: IRBuilder, acc: Value, word: Value, wide: Value) -> Value:
    """Add the dot products of the two s16 of each lane of `word` with the two of `wide`."""
    v16, pairs = vec(I32, 16), vec(I16, 32)
    if FEATURES.vnni:
        operand = pairs if llvm.llvm_version_info[0] >= 22 else v16
        dot = b.module.declare_intrinsic(
            "llvm.x86.avx512.vpdpwssd.512", (), ir.FunctionType(v16, [v16, operand, operand])
        )
        return b.call(dot, [acc, b.bitcast(word, operand), b.bitcast(wide, operand)])
    return b.add(acc, products(b, b.bitcast(word, pairs), b.bitcast(wide, pairs)))


def products(b: IRBuilder, values: Value, factors: Value) -> Value:
    """Sums of the products of int16 pairs, in the form that LLVM makes one multiply-add of."""
    v16, v32 = vec(I32, 16), vec(I32, 32)
    product = b.mul(b.sext(values, v32), b.sext(factors, v32))
    even, odd = (
        b.shuffle_vector(
            product, ir.Constant(v32, ir.Undefined), ir.Constant(v16, list(range(k, 32, 2)))
        )
        for k in (0, 1)
    )
    return b.add(even, odd)


def _dot_step(
    b: IRBuilder, accs: Values, words: Value, table: Value, steps: int, dot: Dot
) -> list[Value]:
    """Add dot products for one word; PAIR channels x `steps` x 2 halves."""
    v16 = vec(I32, 16)
    weights = [load(b, table, const(4 * c), I32, 4) for c in range(PAIR)]
    out = list(accs)
    for t in range(steps):
        for half in range(2):
            word = load(b, words, const(128 * t + 64 * half), v16)
            for c in range(PAIR):
                k = (c * steps + t) * 2 + half
                out[k] = dot(b, accs[k], word, weights[c])
    return out


def load_segment(b: IRBuilder, segments: Value, number: Value, pair: Value) -> list[Value]:
    """Addresses of the first words and of the table of a segment for a pair, and its groups."""
    segment = b.add(segments, b.mul(number, const(8 * SEGMENT)))
    words, table, stride, groups, shifts = (load(b, segment, const(8 * k), I64) for k in range(5))
    shifts = b.add(shifts, b.mul(pair, const(16)))
    words = b.add(words, load(b, shifts, None, I64))
    own = load(b, shifts, const(8), I64)
    groups = b.select(b.icmp_signed("<", groups, const(0)), own, groups)
    return [words, b.add(table, b.mul(pair, stride)), groups]


def _write_tile(b: IRBuilder, args: Values, steps: int, coding: int, half: bool) -> None:
    acc, acc_stride, segments, first, last, pair, group_stride = args
    halves, element = (1, vec(I16)) if coding == LUT else (2, vec(I32, 16))
    table_bytes = const(PAIR * (TABLE * 2 if coding == LUT else 4))
    offsets = [
        b.add(b.mul(acc_stride, const(c)), const(64 * (t * halves + half)))
        for c in range(PAIR)
        for t in range(steps)
        for half in range(halves)
    ]
    base = b.add(acc, b.mul(b.mul(pair, acc_stride), const(PAIR)))
    outer = Loop(b, first, last, [load(b, base, offset, element) for offset in offsets])
    words, table, groups = load_segment(b, segments, outer.i, pair)
    inner = Loop(b, const(0), groups, [*outer.values, words, table])
    *sums, words, table = inner.values
    if coding == LUT:
        sums = lut_step(b, sums, words, table, steps, half)
    else:
        sums = _dot_step(b, sums, words, table, steps, _dot4 if coding == DOT else _dot2)
    sums = inner.close([*sums, b.add(words, group_stride), b.add(table, table_bytes)])
    for offset, value in zip(offsets, outer.close(sums[:-2]), strict=True):
        store(b, value, base, offset)


@functools.cache
def _tile(coding: int, steps: int, half: bool) -> Kernel:
    """(acc, channel stride, segments, first, last, pair, group stride): adds segments.

    Into PAIR x `steps` accumulators; with `half`, words index the first half of lookup tables.
    """

    def write(b: IRBuilder, args: Values) -> None:
        _write_tile(b, args, steps, coding, half)

    return Kernel(f"tile{coding}_{steps}_{int(half)}", 7, write)


def tile_kernels(kind: int, steps: int, half: bool) -> NDArray[np.int64]:
    """Addresses of the kernels that sum 1, 2, 4 and 8 steps; 0 where `steps` needs none."""
    addresses = np.zeros(4, np.int64)
    if kind != TILES:
        most = 3 if kind == LUT else 2
        for k in range(most + 1):
            if steps >> k & 1 or (k == most and steps >> k):
                addresses[k] = _tile(kind, 1 << k, half).address
    return addresses


VECTOR_BYTES = {LUT: 2 * LANES, DOT: 4 * LANES, WIDE: 4 * LANES}
"""Bytes of the words of one group and step, by coding."""
