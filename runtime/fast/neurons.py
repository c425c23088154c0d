"""Neuron scans in vector code: a few channels of 32 samples over all time steps."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import astuple, dataclass, replace
from typing import TypeVar

import numpy as np
from llvmlite import ir
from llvmlite.ir import IRBuilder, Type, Value

from spikec.ir.exact import magnitude
from spikec.ir.types import Array
from spikec.runtime.fast.machine import Kernel
from spikec.runtime.fast.tiles import DOT, LUT, PAIR, QUAD
from spikec.runtime.fast.vector import (
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

AnyThresholds = TypeVar("AnyThresholds", bound="Thresholds")
I16_MAX = 32767
UNIT, POWERS, WHOLE = range(3)
"""What neurons send: 1 and -1; 1, 2, 4, ...; whole numbers."""
(
    THETA,
    FIRE,
    NEGATIVE,
    NET,
    LEAST,
    MOST,
    POS_OFF,
    POS_STEP,
    NEG_OFF,
    NEG_STEP,
    SPLIT,
    COLUMNS,
) = range(12)
"""Columns of a neuron row (int64): what a payload of 1 takes from the potential, from where on it
is sent, potential at or below which a payload of -1 is sent, net sum of payloads at the start,
smallest and largest payload, then where and what to add to the words for a +1 and for a -1 spike,
and whether any channel of the pair adds them to different words."""


@dataclass(frozen=True, slots=True)
class Rule:
    """How the neurons of a compiled layer fire; arrays are (), (channels,) or (channels, h, w).

    Attributes:
        code: What they send: UNIT, POWERS or WHOLE.
        theta: What a payload of 1 takes from the potential; in the first step, where it halves.
        fire: From where on a payload of 1 is sent; used by POWERS.
        negative: Potential at or below which -1 is sent; used by UNIT.
        least: The smallest payload.
        most: The largest payload.
    """

    code: int
    theta: Array
    fire: Array
    negative: Array
    least: int
    most: int

    def net(self, steps: int) -> int:
        """What net sums of payloads stay below in `steps` steps."""
        return (steps + 1) * max(self.most, -self.least)

    @property
    def largest(self) -> int:
        """The largest number that potentials are compared with."""
        powers = magnitude(self.fire) * self.most if self.code == POWERS else 0
        return max(magnitude(self.theta), magnitude(self.negative), powers)


def unit_rule(theta: Array, negative: Array | None = None) -> Rule:
    """Unit spikes; negative ones at or below some potential, or none."""
    none = np.zeros((), np.int64)
    if negative is None:
        return Rule(UNIT, theta, none, none, 0, 1)
    return Rule(UNIT, theta, none, negative, -1, 1)


SILENT = unit_rule(np.ones((), np.int64))
"""Of layers without neurons."""


@dataclass
class Thresholds:
    """Vectors that say how scanned neurons fire."""

    theta: Value
    fire: Value
    negative: Value
    net: Value
    least: Value
    most: Value
    inverse: Value
    """1 / theta, a float that holds all potentials."""
    v0: Value


@dataclass
class ScannedNeuron(Thresholds):
    """Vectors of one scanned channel: thresholds, and where its spikes go."""

    pos: Value
    pos_step: Value
    neg: Value
    neg_step: Value


def load_neuron(b: IRBuilder, row: Value, v0: Value, state: Type, word: Type) -> ScannedNeuron:
    """The neuron of a row (COLUMNS) and of an int32 v0, for vectors of states and of words."""

    def spread(column: int, typ: Type) -> Value:
        return splat(b, b.trunc(entry(column), typ.element), typ.count)

    def entry(column: int) -> Value:
        return load(b, row, const(8 * column), I64)

    real = real_of(state)
    inverse = b.fdiv(ir.Constant(real, 1.0), b.sitofp(entry(THETA), real))

    start = load(b, v0, None, I32, 4)
    start = b.trunc(start, state.element) if state.element.width < 32 else start
    return ScannedNeuron(
        theta=spread(THETA, state),
        fire=spread(FIRE, state),
        negative=spread(NEGATIVE, state),
        net=spread(NET, state),
        least=spread(LEAST, state),
        most=spread(MOST, state),
        inverse=splat(b, inverse, state.count),
        pos=load(b, row, const(8 * POS_OFF), I64),
        pos_step=spread(POS_STEP, word),
        neg=load(b, row, const(8 * NEG_OFF), I64),
        neg_step=spread(NEG_STEP, word),
        v0=splat(b, start, state.count),
    )


def real_of(state: Type) -> Type:
    """A float type in which potentials and their halves are exact."""
    return ir.FloatType() if state.element.width == 16 else ir.DoubleType()


def add_step(b: IRBuilder, addr: Value, step: Value) -> None:
    """Add to the words there."""
    store(b, b.add(load(b, addr, None, step.type), step), addr)


def fire(
    b: IRBuilder, n: Thresholds, v: Value, net: Value, signed: bool
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


def powers(
    b: IRBuilder, neurons: Sequence[Thresholds], vs: Values, nets: Values, levels: Value
) -> list[Value]:
    """The largest powers of two that potentials reach and net sums allow, of `levels`."""
    typ, many = vs[0].type, len(neurons)
    one = fill_of(typ, 1)
    starts = [ir.Constant(typ, None)] * many + [n.fire for n in neurons]
    loop = Loop(b, const(0), levels, [*starts, one])
    *carried, unit = loop.values
    payloads, fires = carried[:many], carried[many:]
    for k in range(many):
        up = b.icmp_signed(">=", vs[k], fires[k])
        enough = b.icmp_signed(">=", nets[k], unit)
        down = b.and_(b.icmp_signed("<", vs[k], b.neg(fires[k])), enough)
        payloads[k] = b.select(up, unit, b.select(down, b.neg(unit), payloads[k]))
        fires[k] = b.shl(fires[k], one)
    return loop.close([*payloads, *fires, b.shl(unit, one)])[:many]


def whole(b: IRBuilder, n: Thresholds, v: Value, net: Value) -> Value:
    """`clip(floor(v / theta), max(-net, least), most)`.

    `(v + 1/2) / theta` lies at least `1 / (2 theta)` from all integers, which is more than what
    rounding moves it.
    """
    wide = n.inverse.type
    half = ir.Constant(wide, [0.5] * wide.count)
    shares = b.fmul(b.fadd(b.sitofp(v, wide), half), n.inverse)
    kind = {ir.FloatType(): "f32", ir.DoubleType(): "f64"}[wide.element]
    name = f"llvm.floor.v{wide.count}{kind}"
    floor = b.module.declare_intrinsic(name, (), ir.FunctionType(wide, [wide]))
    units = b.trunc(b.fptosi(b.call(floor, [shares]), vec(I32, wide.count)), v.type)
    back = b.neg(net)
    least = b.select(b.icmp_signed(">", back, n.least), back, n.least)
    units = b.select(b.icmp_signed("<", units, n.most), units, n.most)
    return b.select(b.icmp_signed(">", units, least), units, least)


def _store_numbers(b: IRBuilder, payloads: Values, zero_word: Value, to: Value, odd: Value) -> None:
    """Store the payloads of four channels as a word of bytes, or as two of halves, `odd` apart."""
    many = payloads[0].type.count
    halves = [p if p.type.element.width == 16 else b.trunc(p, vec(I16, many)) for p in payloads]
    order = ir.Constant(vec(I32, 2 * many), [k for i in range(many) for k in (i, many + i)])
    words = vec(I32, many)
    pairs = [b.bitcast(b.shuffle_vector(halves[k], halves[k + 2], order), words) for k in (0, 1)]
    wide, narrow, done = (b.append_basic_block(name) for name in ("wide", "narrow", "done"))
    b.cbranch(b.icmp_signed("!=", odd, const(0)), wide, narrow)
    b.position_at_end(wide)
    store(b, pairs[0], to)
    store(b, pairs[1], to, odd)
    b.branch(done)
    b.position_at_end(narrow)
    low = fill_of(words, 0x00FF00FF)
    zero = b.and_(splat(b, b.trunc(zero_word, I32), many), low)
    zero = b.bitcast(zero, vec(I16, 2 * many))
    even, other = (b.bitcast(b.add(b.bitcast(p, zero.type), zero), words) for p in pairs)
    store(b, b.or_(even, b.shl(other, fill_of(words, 8))), to)
    b.branch(done)
    b.position_at_end(done)


def lookup_step(b: IRBuilder, n: ScannedNeuron, up: Value, down: Value | None) -> Value:
    """What spikes add to a word that holds both signs."""
    step = b.select(up, n.pos_step, ir.Constant(n.pos_step.type, None))
    return step if down is None else b.select(down, n.neg_step, step)


def add_lookups(
    b: IRBuilder, n: ScannedNeuron, out: Value, up: Value, down: Value | None, merged: bool
) -> None:
    """Add spikes to the lookup words of their groups; `merged`: one word for both signs."""
    if down is not None and not merged:
        none = ir.Constant(n.neg_step.type, None)
        add_step(b, b.add(out, n.neg), b.select(down, n.neg_step, none))
        down = None
    add_step(b, b.add(out, n.pos), lookup_step(b, n, up, down))


def _with_byte(b: IRBuilder, words: Value, k: int, up: Value, down: Value | None) -> Value:
    """Dot words with the spikes of channel `k` of their four added."""
    step, none = fill_of(words.type, 1 << 8 * k), ir.Constant(words.type, None)
    words = b.add(words, b.select(up, step, none))
    return words if down is None else b.sub(words, b.select(down, step, none))


def count_lanes(b: IRBuilder, fired: Value, lanes: Value, addr: Value, first: bool) -> None:
    """Store how many of the samples in `lanes` fired as one byte, or add to it."""
    bits = ir.IntType(fired.type.count)
    total = b.ctpop(b.and_(b.bitcast(fired, bits), b.trunc(lanes, bits)))
    total = b.trunc(total, I8)
    store(b, total if first else b.add(total, load(b, addr, None, I8, 1)), addr, None, 1)


def outside(b: IRBuilder, high: Value, low: Value, top: Value, bottom: Value) -> Value:
    """1 when any lane of `high` exceeds `top` or of `low` is below `bottom`."""
    bad = b.or_(b.icmp_signed(">", high, top), b.icmp_signed("<", low, bottom))
    bits = ir.IntType(high.type.count)
    return b.zext(b.icmp_unsigned("!=", b.bitcast(bad, bits), ir.Constant(bits, 0)), I64)


@dataclass(frozen=True)
class Scan:
    """Which code scans some channels.

    Attributes:
        bits: Of potentials.
        kind: Of the words: LUT or DOT.
        signed: Whether there are negative unit spikes.
        merged: Whether a channel's +1 and -1 spikes go to the same lookup word.
        rule: What is sent.
    """

    bits: int
    kind: int
    signed: bool = False
    merged: bool = True
    rule: int = UNIT


def _write_scan(b: IRBuilder, args: Values, how: Scan) -> Value:
    """Scan all lanes at once in 16 bits, half of them at a time in 32 bits."""
    if how.bits == 16:
        return _scan_lanes(b, args, how, 0, LANES)
    half = LANES // 2
    return b.or_(*[_scan_lanes(b, args, how, first, half) for first in (0, half)])


def _scan_lanes(b: IRBuilder, args: Values, how: Scan, first: int, many: int) -> Value:
    bits, kind = how.bits, how.kind
    cur, channel_stride, step_stride, out, steps, rows, v0, counts, *args = args
    lanes, top, bottom, kept, kept_channel, kept_step, zero_word, *args = args
    halves, levels, units, odd = args
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
        load_neuron(b, b.add(rows, const(8 * COLUMNS * k)), b.add(v0, const(4 * k)), vs, vw)
        for k in range(channels)
    ]
    zero, empty = ir.Constant(vs, None), splat(b, b.trunc(zero_word, vw.element), many)
    starts = [n.v0 for n in neurons] + [n.net for n in neurons]
    loop = Loop(b, const(0), steps, [*starts, zero, zero])
    state, (high, low) = list(loop.values[:-2]), loop.values[-2:]
    at = b.add(cur, b.mul(loop.i, step_stride))
    to = b.add(out, b.mul(loop.i, const(LANES * word_bits // 8)))
    words = empty
    for k in range(channels):
        current = load(b, at, b.mul(channel_stride, const(k)), vs)
        v = b.call(add_sat, [state[k], current]) if bits == 16 else b.add(state[k], current)
        high, low, state[k] = b.call(smax, [high, v]), b.call(smin, [low, v]), v
    payloads: list[Value] = []
    if how.rule == POWERS:
        payloads = powers(b, neurons, state[:channels], state[channels:], levels)
    for k, n in enumerate(neurons):
        v, net = state[k], state[channels + k]
        place = b.add(b.mul(steps, const(k)), loop.i)
        if how.rule == UNIT:
            at_step = halved(b, n, b.mul(halves, loop.i)) if bits == 32 else n
            state[k], state[channels + k], up, down = fire(b, at_step, v, net, how.signed)
            if kind == LUT:
                add_lookups(b, n, to, up, down, how.merged)
            else:
                words = _with_byte(b, words, k, up, down)
            fired = up if down is None else b.or_(up, down)
        else:
            if how.rule == WHOLE:
                payloads.append(whole(b, n, v, net))
            payload = payloads[k]
            state[k], state[channels + k] = b.sub(v, b.mul(n.theta, payload)), b.add(net, payload)
            fired = b.icmp_signed("!=", payload, zero)
            alone = b.or_(*[b.icmp_signed("==", payload, fill_of(vs, one)) for one in (1, -1)])
            count_lanes(b, alone, lanes, b.add(units, place), first == 0)
        count_lanes(b, fired, lanes, b.add(counts, place), first == 0)
        if bits == 32:
            place = b.add(b.mul(kept_channel, const(k)), b.mul(kept_step, loop.i))
            store(b, state[k], kept, place)
    if how.rule != UNIT:
        _store_numbers(b, payloads, zero_word, to, odd)
    elif kind == DOT:
        store(b, words, to)
    *_, high, low = loop.close([*state, high, low])
    top, bottom = (splat(b, b.trunc(limit, vs.element), many) for limit in (top, bottom))
    return outside(b, high, low, top, bottom)


def halved(b: IRBuilder, n: AnyThresholds, shift: Value) -> AnyThresholds:
    """Thresholds after `shift` halvings."""
    by = splat(b, b.trunc(shift, n.theta.type.element), n.theta.type.count)
    theta, negative = (b.ashr(value, by) for value in (n.theta, n.negative))
    return replace(n, theta=theta, negative=negative)


@functools.cache
def scan_kernel(how: Scan) -> Kernel:
    """Scans two channels of 32 samples, or four whose spikes are dot words, over time.

    Adds their spikes to lookup words or writes their dot words, stores how many samples fired in
    each step (and, of payloads, how many sent 1 or -1), and returns 1 when a potential left
    [bottom, top]; 16 bits saturate.
    """
    name = "_".join(str(int(value)) for value in astuple(how))
    return Kernel(f"scan_{name}", 19, lambda b, args: _write_scan(b, args, how))
