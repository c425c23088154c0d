"""Neuron scans in vector code: a few channels of 32 samples over all time steps."""

from __future__ import annotations

from dataclasses import dataclass

from llvmlite import ir
from llvmlite.ir import IRBuilder, Type, Value
from numba import njit

from spikec.runtime.fast.tiles import DOT, LUT, PAIR, QUAD
from spikec.runtime.fast.vector import (
    I8,
    I32,
    I64,
    LANES,
    Intrinsic,
    Loop,
    Values,
    const,
    fill_of,
    function,
    get64,
    load,
    splat,
    store,
    vec,
)

I16_MAX = 32767
THETA, NEGATIVE, NET, POS_OFF, POS_STEP, NEG_OFF, NEG_STEP, SPLIT, COLUMNS = range(9)
"""Columns of a neuron row (int64): threshold, potential at or below which negative spikes fire,
net count at the start, then where and what to add to the words for a +1 and for a -1 spike, and
whether any channel of the pair adds them to different words."""


@dataclass
class _Neuron:
    """Vectors of one scanned channel."""

    theta: Value
    negative: Value
    net: Value
    pos: Value
    pos_step: Value
    neg: Value
    neg_step: Value
    v0: Value


def _load_neuron(b: IRBuilder, row: Value, v0: Value, state: Type, word: Type) -> _Neuron:
    def spread(column: int, typ: Type) -> Value:
        scalar = load(b, row, const(8 * column), I64)
        return splat(b, b.trunc(scalar, typ.element), typ.count)

    start = load(b, v0, None, I32, 4)
    start = b.trunc(start, state.element) if state.element.width < 32 else start
    return _Neuron(
        theta=spread(THETA, state),
        negative=spread(NEGATIVE, state),
        net=spread(NET, state),
        pos=load(b, row, const(8 * POS_OFF), I64),
        pos_step=spread(POS_STEP, word),
        neg=load(b, row, const(8 * NEG_OFF), I64),
        neg_step=spread(NEG_STEP, word),
        v0=splat(b, start, state.count),
    )


def _add_step(b: IRBuilder, addr: Value, step: Value) -> None:
    store(b, b.add(load(b, addr, None, step.type), step), addr)


def _fire(
    b: IRBuilder, n: _Neuron, v: Value, net: Value, signed: bool
) -> tuple[Value, Value, Value, Value | None]:
    """Spike rule on the charged potential: potential and net count after it, who fired +1, -1."""
    zero, one = ir.Constant(v.type, None), fill_of(v.type, 1)
    up = b.icmp_signed(">=", v, n.theta)
    after = b.sub(v, b.select(up, n.theta, zero))
    if not signed:
        return after, net, up, None
    down = b.and_(b.icmp_signed("<=", v, n.negative), b.icmp_signed(">", net, zero))
    after = b.add(after, b.select(down, n.theta, zero))
    net = b.sub(b.add(net, b.select(up, one, zero)), b.select(down, one, zero))
    return after, net, up, down


def _add_lookups(
    b: IRBuilder, n: _Neuron, out: Value, up: Value, down: Value | None, merged: bool
) -> None:
    """Add spikes to the lookup words of their groups; `merged`: one word for both signs."""
    none = ir.Constant(n.pos_step.type, None)
    step = b.select(up, n.pos_step, none)
    if down is not None and merged:
        step = b.select(down, n.neg_step, step)
    elif down is not None:
        _add_step(b, b.add(out, n.neg), b.select(down, n.neg_step, none))
    _add_step(b, b.add(out, n.pos), step)


def _with_byte(b: IRBuilder, words: Value, k: int, up: Value, down: Value | None) -> Value:
    """Dot words with the spikes of channel `k` of their four added."""
    step, none = fill_of(words.type, 1 << 8 * k), ir.Constant(words.type, None)
    words = b.add(words, b.select(up, step, none))
    return words if down is None else b.sub(words, b.select(down, step, none))


def _count(b: IRBuilder, fired: Value, lanes: Value, addr: Value, first: bool) -> None:
    """Store how many of the samples in `lanes` fired as one byte, or add to it."""
    bits = ir.IntType(fired.type.count)
    total = b.ctpop(b.and_(b.bitcast(fired, bits), b.trunc(lanes, bits)))
    total = b.trunc(total, I8)
    store(b, total if first else b.add(total, load(b, addr, None, I8, 1)), addr, None, 1)


def _outside(b: IRBuilder, high: Value, low: Value, top: Value, bottom: Value) -> Value:
    """1 when any lane of `high` exceeds `top` or of `low` is below `bottom`."""
    bad = b.or_(b.icmp_signed(">", high, top), b.icmp_signed("<", low, bottom))
    bits = ir.IntType(high.type.count)
    return b.zext(b.icmp_unsigned("!=", b.bitcast(bad, bits), ir.Constant(bits, 0)), I64)


def _write_scan(
    b: IRBuilder, args: Values, bits: int, kind: int, signed: bool, merged: bool
) -> Value:
    """Scan all lanes at once in 16 bits, half of them at a time in 32 bits."""
    if bits == 16:
        return _scan_lanes(b, args, 16, kind, signed, merged, 0, LANES)
    half = LANES // 2
    parts = [_scan_lanes(b, args, bits, kind, signed, merged, first, half) for first in (0, half)]
    return b.or_(*parts)


def _scan_lanes(
    b: IRBuilder,
    args: Values,
    bits: int,
    kind: int,
    signed: bool,
    merged: bool,
    first: int,
    many: int,
) -> Value:
    cur, channel_stride, step_stride, out, steps, rows, v0, counts, *args = args
    lanes, top, bottom, kept, kept_channel, kept_step, zero_word = args
    channels, word_bits = (PAIR, 16) if kind == LUT else (QUAD, 32)
    cur, out, kept = (
        b.add(at, const(first * size // 8))
        for at, size in ((cur, bits), (out, word_bits), (kept, bits))
    )
    lanes = b.lshr(lanes, const(first))
    vs, vw = vec(ir.IntType(bits), many), vec(ir.IntType(word_bits), many)
    signature = ir.FunctionType(vs, [vs, vs])
    add_sat, smax, smin = (
        b.module.declare_intrinsic(f"llvm.{name}.v{many}i{bits}", (), signature)
        for name in ("sadd.sat", "smax", "smin")
    )
    neurons = [
        _load_neuron(b, b.add(rows, const(8 * COLUMNS * k)), b.add(v0, const(4 * k)), vs, vw)
        for k in range(channels)
    ]
    zero, empty = ir.Constant(vs, None), splat(b, b.trunc(zero_word, vw.element), many)
    starts = [n.v0 for n in neurons] + [n.net for n in neurons]
    loop = Loop(b, const(0), steps, [*starts, zero, zero])
    state, (high, low) = list(loop.values[:-2]), loop.values[-2:]
    at = b.add(cur, b.mul(loop.i, step_stride))
    to = b.add(out, b.mul(loop.i, const(LANES * word_bits // 8)))
    words = empty
    for k, n in enumerate(neurons):
        current = load(b, at, b.mul(channel_stride, const(k)), vs)
        v = b.call(add_sat, [state[k], current]) if bits == 16 else b.add(state[k], current)
        high, low = b.call(smax, [high, v]), b.call(smin, [low, v])
        state[k], state[channels + k], up, down = _fire(b, n, v, state[channels + k], signed)
        if kind == LUT:
            _add_lookups(b, n, to, up, down, merged)
        else:
            words = _with_byte(b, words, k, up, down)
        place = b.add(b.add(counts, b.mul(steps, const(k))), loop.i)
        _count(b, up if down is None else b.or_(up, down), lanes, place, first == 0)
        if bits == 32:
            place = b.add(b.mul(kept_channel, const(k)), b.mul(kept_step, loop.i))
            store(b, state[k], kept, place)
    if kind == DOT:
        store(b, words, to)
    *_, high, low = loop.close([*state, high, low])
    top, bottom = (splat(b, b.trunc(limit, vs.element), many) for limit in (top, bottom))
    return _outside(b, high, low, top, bottom)


def _make_scan(bits: int, kind: int, signed: bool, merged: bool = True) -> Intrinsic:
    """Intrinsic: scan two channels of 32 samples, or four whose spikes are dot words, over time.

    Adds their spikes to lookup words or writes their dot words, stores how many samples fired in
    each step and returns 1 when a potential left [bottom, top]; 16 bits saturate. With `merged` a
    channel's +1 and -1 spikes go to the same lookup word.
    """

    def write(b: IRBuilder, args: Values) -> Value:
        return _write_scan(b, args, bits, kind, signed, merged)

    return function(15, write)


scan16_lut, scan16_lut_signed = (_make_scan(16, LUT, signed) for signed in (False, True))
scan16_dot, scan16_dot_signed = (_make_scan(16, DOT, signed) for signed in (False, True))
scan32_lut, scan32_lut_signed = (_make_scan(32, LUT, signed) for signed in (False, True))
scan32_dot, scan32_dot_signed = (_make_scan(32, DOT, signed) for signed in (False, True))
scan16_lut_split = _make_scan(16, LUT, True, False)
scan32_lut_split = _make_scan(32, LUT, True, False)


@njit(cache=True, nogil=True)
def scan_some(bits: int, dot_out: int, signed: int, a: tuple[int, ...]) -> int:
    """Scan two or four channels with the variant for the layer; `a` are the scan's arguments."""
    if bits == 16:
        if dot_out != 0:
            return scan16_dot_signed(*a) if signed != 0 else scan16_dot(*a)
        if signed == 0:
            return scan16_lut(*a)
        return scan16_lut_signed(*a) if get64(a[5] + 8 * SPLIT) == 0 else scan16_lut_split(*a)
    if dot_out != 0:
        return scan32_dot_signed(*a) if signed != 0 else scan32_dot(*a)
    if signed == 0:
        return scan32_lut(*a)
    return scan32_lut_signed(*a) if get64(a[5] + 8 * SPLIT) == 0 else scan32_lut_split(*a)
