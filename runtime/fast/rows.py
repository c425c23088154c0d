"""Lanes over output channels: how few samples run, where lanes over samples would stay empty.

An image is `bytes[sample, y, x, t, channel]` with channels rounded up to whole vectors and a
border as wide as its readers' padding; all hold value + zero point. Numbers that span more than a
byte are halves of 16 bits instead. A row of results is summed in
blocks of positions (x, t) times vectors of channels, then scanned over time.
"""

from __future__ import annotations

import functools
from typing import NamedTuple

import llvmlite.binding as llvm
import numpy as np
from llvmlite import ir
from llvmlite.ir import IRBuilder, Value
from numba import njit

from spikec.runtime.fast.machine import Kernel, call8, call17
from spikec.runtime.fast.neurons import (
    COLUMNS,
    FIRE,
    LEAST,
    MOST,
    NEGATIVE,
    NET,
    POWERS,
    THETA,
    UNIT,
    Thresholds,
    fire,
    halved,
    outside,
    powers,
    real_of,
    whole,
)
from spikec.runtime.fast.tiles import pair_dot, products
from spikec.runtime.fast.vector import (
    FEATURES,
    I8,
    I16,
    I32,
    I64,
    Loop,
    Values,
    const,
    fill_of,
    get64,
    load,
    procedure,
    splat,
    store,
    vec,
)

WIDTH = 16
"""Channels of a vector."""
POSITIONS = 8
"""Positions of a block."""
ACROSS = 2
"""Vectors of channels of a block."""
BYTES, HALVES, NUMBERS = vec(I8, WIDTH), vec(I16, WIDTH), vec(I32, WIDTH)
(
    N_ADDR,
    N_SAMPLE,
    N_ROW,
    N_DOWN,
    N_OFFSETS,
    N_TAPS,
    N_COUNT,
    N_DEPTH,
    N_TABLE,
    N_SIZE,
    N_OWN,
    N_SHIFTS,
    N_ONE,
    _,
    N_MANY,
    _,
    N_COLUMNS,
) = range(17)
"""Columns of a link (int64): address of the pixel that result (0, 0)'s first tap reads, bytes of a
sample and of a row, rows from result to result, offsets of the positions of a row (int64), offsets
of the taps (int64) and how many, vectors of input channels, weights, bytes of an input, whether
each channel reads its own alone, exponents (channel,) int32 or 0, and addresses of the kernels
that sum one position or many, each of one vector of channels or two; 0 where none is needed."""


class RowLayer(NamedTuple):
    """A layer and its input; arrays by address, strides in bytes."""

    links: int
    link_count: int
    samples: int
    height: int
    width: int
    steps: int
    steps_in: int
    padded: int
    fires: int
    bias: int
    bias_rows: int
    """int32 (pixel or 1, channel)."""
    neurons: int
    neuron_rows: int
    """int32 (pixel or 1, column, channel)."""
    v0: int
    v0_rows: int
    scan: int
    """Address of the kernel."""
    rule: int
    levels: int
    window: int
    gain: int
    doubles: int
    mirrored: int
    low: int
    high: int
    zero: int
    """Zero point of the result."""
    sums: int
    """int32 (position, channel) of a row; where nothing fires the result, of all rows."""
    shifted: int
    """As a row of `sums`: those of a link with exponents."""
    out: int
    size: int
    """Bytes of an element of the result."""
    out_sample: int
    out_row: int
    counts: int
    units: int
    """Bytes (y, x, t, channel): how many samples sent anything, and 1 or -1; added to."""
    kept: int
    """int32 (sample, y, x, t, channel): potentials; 0 for none."""


RECORD = np.dtype([(name, np.int64) for name in RowLayer._fields])
"""A layer as one record, which compiled code takes at less cost than a tuple."""


def _dot(b: IRBuilder, acc: Value, spikes: Value, weights: Value) -> Value:
    """Add the dot products of the four u8 of each lane with its four s8."""
    if FEATURES.vnni:
        operand = vec(I8, 64) if llvm.llvm_version_info[0] >= 22 else NUMBERS
        dot = b.module.declare_intrinsic(
            "llvm.x86.avx512.vpdpbusd.512",
            (),
            ir.FunctionType(NUMBERS, [NUMBERS, operand, operand]),
        )
        return b.call(dot, [acc, b.bitcast(spikes, operand), b.bitcast(weights, operand)])
    pairs, low = vec(I16, 2 * WIDTH), fill_of(NUMBERS, 0x00FF00FF)
    eight = fill_of(pairs, 8)
    halves = b.bitcast(weights, pairs)
    for parity in (0, 1):
        values = b.bitcast(b.and_(b.lshr(spikes, fill_of(NUMBERS, 8 * parity)), low), pairs)
        factors = b.ashr(b.shl(halves, eight) if parity == 0 else halves, eight)
        acc = b.add(acc, products(b, values, factors))
    return acc


def _write_block(b: IRBuilder, args: Values, size: int, positions: int, across: int) -> None:
    parts, dot = size * WIDTH // 4, _dot if size == 1 else pair_dot
    sums, stride, base, offsets, taps, count, depth, table = args
    places = [b.add(base, load(b, offsets, const(8 * p), I64)) for p in range(positions)]
    at = [
        b.add(sums, b.add(b.mul(stride, const(p)), const(4 * WIDTH * n)))
        for p in range(positions)
        for n in range(across)
    ]
    outer = Loop(b, const(0), count, [*(load(b, place, None, NUMBERS) for place in at), table])
    tap = load(b, taps, b.mul(outer.i, const(8)), I64)
    starts = [b.add(place, tap) for place in places]
    inner = Loop(b, const(0), depth, outer.values)
    *accs, weights = inner.values
    channel = b.mul(inner.i, const(WIDTH * size))
    for part in range(parts):
        factors = [
            load(b, weights, const(4 * WIDTH * (part * across + n)), NUMBERS) for n in range(across)
        ]
        for p in range(positions):
            word = load(b, starts[p], b.add(channel, const(4 * part)), I32, 4)
            spikes = splat(b, word, WIDTH)
            for n in range(across):
                k = p * across + n
                accs[k] = dot(b, accs[k], spikes, factors[n])
    *accs, _ = outer.close(inner.close([*accs, b.add(weights, const(4 * WIDTH * parts * across))]))
    for place, value in zip(at, accs, strict=True):
        store(b, value, place)


@functools.cache
def block(size: int, positions: int, across: int) -> Kernel:
    """(sums, stride, base, offsets, taps, count, depth, table): adds to a block of sums.

    Products of `count` taps of `depth` vectors of input channels, of `size` bytes each; positions
    of the sums lie `stride` bytes apart.
    """

    def write(b: IRBuilder, args: Values) -> None:
        _write_block(b, args, size, positions, across)

    return Kernel(f"block{size}_{positions}_{across}", 8, write)


def _write_own(b: IRBuilder, args: Values, size: int) -> None:
    sums, place, taps, count, vectors, table = args
    outer = Loop(b, const(0), vectors, [])
    at = b.mul(outer.i, const(4 * WIDTH))
    start = b.add(place, b.mul(outer.i, const(WIDTH * size)))
    inner = Loop(b, const(0), count, [load(b, sums, at, NUMBERS)])
    tap = load(b, taps, b.mul(inner.i, const(8)), I64)
    spikes = load(b, start, tap, BYTES if size == 1 else HALVES)
    spikes = b.zext(spikes, NUMBERS) if size == 1 else b.sext(spikes, NUMBERS)
    row = b.mul(b.mul(inner.i, vectors), const(4 * WIDTH))
    weights = load(b, b.add(table, row), at, NUMBERS)
    (total,) = inner.close([b.add(inner.values[0], b.mul(spikes, weights))])
    store(b, total, sums, at)
    outer.close([])


own_bytes = procedure(6, lambda b, args: _write_own(b, args, 1))
own_halves = procedure(6, lambda b, args: _write_own(b, args, 2))
"""(sums, place, taps, count, vectors, table): add taps that each channel takes from its own."""


def _write_copy(b: IRBuilder, args: Values) -> None:
    source, target, count, vectors = args
    outer = Loop(b, const(0), vectors, [])
    at = b.mul(outer.i, const(4 * WIDTH))
    value = load(b, source, at, NUMBERS)
    inner = Loop(b, const(0), count, [b.add(target, at)])
    store(b, value, inner.values[0])
    inner.close([b.add(inner.values[0], b.mul(vectors, const(4 * WIDTH)))])
    outer.close([])


copies = procedure(4, _write_copy)
"""(source, target, count, vectors): `count` copies of some vectors, one behind the other."""


def _write_shift(b: IRBuilder, args: Values) -> None:
    source, target, exponents, count, vectors = args
    outer = Loop(b, const(0), vectors, [])
    at = b.mul(outer.i, const(4 * WIDTH))
    by = load(b, exponents, at, NUMBERS)
    inner = Loop(b, const(0), count, [at])
    place = inner.values[0]
    value = b.shl(load(b, source, place, NUMBERS), by)
    store(b, b.add(load(b, target, place, NUMBERS), value), target, place)
    store(b, ir.Constant(NUMBERS, None), source, place)
    inner.close([b.add(place, b.mul(vectors, const(4 * WIDTH)))])
    outer.close([])


add_shifted = procedure(5, _write_shift)
"""(source, target, exponents, count, vectors): target += source << exponent; source becomes 0."""


def _write_gather(b: IRBuilder, args: Values) -> None:
    source, stride, steps, gain, doubles, v0, mirrored = args
    zero, shift = ir.Constant(NUMBERS, None), splat(b, b.trunc(doubles, I32), WIDTH)
    loop = Loop(b, const(0), steps, [zero])
    value = load(b, source, b.mul(loop.i, stride), NUMBERS)
    (total,) = loop.close([b.add(b.shl(loop.values[0], shift), value)])
    total = b.mul(total, splat(b, b.trunc(gain, I32), WIDTH))
    twice = splat(b, b.shl(b.trunc(mirrored, I32), ir.Constant(I32, 1)), WIDTH)
    turned = b.mul(load(b, v0, None, NUMBERS), twice)
    turned = b.select(b.icmp_signed("<", total, zero), turned, zero)
    store(b, b.sub(total, turned), source)


gather = procedure(7, _write_gather)
"""(source, stride, steps, gain, doubles, v0, mirrored): the window's sum in place of its first
current; as `vector.gather`."""


def _thresholds(b: IRBuilder, rows: Value, stride: Value, v0: Value) -> Thresholds:
    def column(k: int) -> Value:
        return load(b, rows, b.mul(stride, const(k)), NUMBERS)

    real = vec(real_of(NUMBERS), WIDTH)
    theta = column(THETA)
    inverse = b.fdiv(ir.Constant(real, [1.0] * WIDTH), b.sitofp(theta, real))
    return Thresholds(
        theta=theta,
        fire=column(FIRE),
        negative=column(NEGATIVE),
        net=column(NET),
        least=column(LEAST),
        most=column(MOST),
        inverse=inverse,
        v0=load(b, v0, None, NUMBERS),
    )


def _add_counts(b: IRBuilder, at: Value, offset: Value, which: Value) -> None:
    more = b.add(load(b, at, offset, BYTES), b.zext(which, BYTES))
    store(b, more, at, offset)


def _write_scan(b: IRBuilder, args: Values, rule: int, signed: bool, size: int) -> Value:
    cur, cur_step, steps, rows, stride, v0, out, count_step, *args = args
    counts, units, kept, top, bottom, zero, halves, levels, window = args
    n = _thresholds(b, rows, stride, v0)
    element = BYTES if size == 1 else HALVES
    none = ir.Constant(NUMBERS, None)
    zeros = splat(b, b.trunc(zero, element.element), WIDTH)
    loop = Loop(b, const(0), steps, [n.v0, n.net, none, none])
    v, net, high, low = loop.values
    current = load(b, cur, b.mul(loop.i, cur_step), NUMBERS)
    later = b.and_(b.icmp_signed("!=", window, const(0)), b.icmp_signed(">", loop.i, const(0)))
    v = b.add(v, b.select(later, none, current))
    high = b.select(b.icmp_signed(">", v, high), v, high)
    low = b.select(b.icmp_signed("<", v, low), v, low)
    at = b.mul(loop.i, count_step)
    if rule == UNIT:
        v, net, up, down = fire(b, halved(b, n, b.mul(halves, loop.i)), v, net, signed)
        sent, fired = b.zext(up, element), up
        if down is not None:
            sent, fired = b.sub(sent, b.zext(down, element)), b.or_(up, down)
    else:
        payload = powers(b, [n], [v], [net], levels)[0] if rule == POWERS else whole(b, n, v, net)
        sent, v, net = (
            b.trunc(payload, element),
            b.sub(v, b.mul(n.theta, payload)),
            b.add(net, payload),
        )
        fired = b.icmp_signed("!=", payload, none)
        alone = b.or_(*[b.icmp_signed("==", payload, fill_of(NUMBERS, k)) for k in (1, -1)])
        _add_counts(b, units, at, alone)
    _add_counts(b, counts, at, fired)
    store(b, b.add(sent, zeros), out, b.mul(at, const(size)))
    with b.if_then(b.icmp_signed("!=", kept, const(0))):
        store(b, v, kept, b.mul(loop.i, stride))
    *_, high, low = loop.close([v, net, high, low])
    return outside(b, high, low, *(splat(b, b.trunc(k, I32), WIDTH) for k in (top, bottom)))


@functools.cache
def row_scan(rule: int, signed: bool, size: int) -> Kernel:
    """Scans a vector of channels over time; 1 when a potential left [bottom, top].

    Payloads are written in `size` bytes each.
    """
    name = f"row_scan_{rule}_{int(signed)}_{size}"
    return Kernel(name, 17, lambda b, args: _write_scan(b, args, rule, signed, size))


@njit(cache=True, nogil=True, inline="always")
def _sum_link(f: RowLayer, sums: int, link: int, base: int) -> None:
    """Add a link to the sums of a row."""
    positions, padded = f.width * f.steps_in, f.padded
    offsets, taps = get64(link + 8 * N_OFFSETS), get64(link + 8 * N_TAPS)
    count = get64(link + 8 * N_COUNT)
    depth, table, stride = get64(link + 8 * N_DEPTH), get64(link + 8 * N_TABLE), 4 * padded
    size = get64(link + 8 * N_SIZE)
    if get64(link + 8 * N_OWN) != 0:
        for p in range(positions):
            place = base + get64(offsets + 8 * p)
            if size == 1:
                own_bytes(sums + stride * p, place, taps, count, padded // WIDTH, table)
            else:
                own_halves(sums + stride * p, place, taps, count, padded // WIDTH, table)
        return
    whole = positions // POSITIONS * POSITIONS
    vectors, channel = padded // WIDTH, 0
    while channel < vectors:
        across = min(ACROSS, vectors - channel)
        many = get64(link + 8 * (N_MANY + across - 1))
        one = get64(link + 8 * (N_ONE + across - 1))
        first, p = sums + 4 * WIDTH * channel, 0
        while p < positions:
            code, step = (many, POSITIONS) if p < whole else (one, 1)
            at, own = first + stride * p, offsets + 8 * p
            call8(code, at, stride, base, own, taps, count, depth, table)
            p += step
        table += 4 * WIDTH * (size * WIDTH // 4) * across * depth * count
        channel += across


@njit(cache=True, nogil=True, inline="always")
def _sum_row(f: RowLayer, sample: int, y: int, sums: int) -> None:
    """All links of a row, and the bias."""
    positions, vectors = f.width * f.steps_in, f.padded // WIDTH
    if f.bias_rows == 1:
        copies(f.bias, sums, positions, vectors)
    else:
        for x in range(f.width):
            own = f.bias + 4 * f.padded * (y * f.width + x)
            copies(own, sums + 4 * f.padded * f.steps_in * x, f.steps_in, vectors)
    for k in range(f.link_count):
        link = f.links + 8 * N_COLUMNS * k
        base = get64(link + 8 * N_ADDR) + sample * get64(link + 8 * N_SAMPLE)
        base += y * get64(link + 8 * N_DOWN) * get64(link + 8 * N_ROW)
        shifts = get64(link + 8 * N_SHIFTS)
        _sum_link(f, sums if shifts == 0 else f.shifted, link, base)
        if shifts != 0:
            add_shifted(f.shifted, sums, shifts, positions, vectors)


@njit(cache=True, nogil=True, inline="always")
def _scan_row(f: RowLayer, sample: int, y: int) -> int:
    """Neurons of a row of sums."""
    bad, stride = 0, 4 * f.padded
    step = stride if f.steps_in == f.steps else 0
    place = f.out + sample * f.out_sample + y * f.out_row
    for x in range(f.width):
        pixel = y * f.width + x
        rows = f.neurons + stride * COLUMNS * (pixel % f.neuron_rows)
        v0 = f.v0 + stride * (pixel % f.v0_rows)
        for c in range(0, f.padded, WIDTH):
            cur = f.sums + stride * f.steps_in * x + 4 * c
            if f.window != 0:
                gather(cur, stride, f.steps_in, f.gain, f.doubles, v0 + 4 * c, f.mirrored)
            at = pixel * f.steps * f.padded + c
            kept = f.kept
            if kept != 0:
                kept += 4 * (at + sample * f.height * f.width * f.steps * f.padded)
            bad |= call17(
                f.scan,
                cur,
                step,
                f.steps,
                rows + 4 * c,
                stride,
                v0 + 4 * c,
                place + f.size * (x * f.steps * f.padded + c),
                f.padded,
                f.counts + at,
                f.units + at,
                kept,
                f.high,
                f.low,
                f.zero,
                f.doubles,
                f.levels,
                f.window,
            )
    return bad


@njit(cache=True, nogil=True)
def run_rows(f: RowLayer) -> int:
    """Run a layer on all its samples; 1 when a potential left its width."""
    bad = 0
    for sample in range(f.samples):
        for y in range(f.height):
            sums = f.sums
            if f.fires == 0:
                row = sample * f.height + y
                sums += 4 * f.padded * f.width * f.steps_in * row
            _sum_row(f, sample, y, sums)
            if f.fires != 0:
                bad |= _scan_row(f, sample, y)
    return bad
