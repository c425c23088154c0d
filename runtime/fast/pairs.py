"""A channel pair from spikes to spikes: lookups are summed in registers and scanned where they are.

For layers whose sums and potentials have 16 bits; the block driver does what is rarer than that.
"""

from __future__ import annotations

import functools
from dataclasses import astuple, dataclass

import numpy as np
from llvmlite import ir
from llvmlite.ir import IRBuilder, Value

from spikec.ir.types import Array
from spikec.runtime.fast.machine import Kernel
from spikec.runtime.fast.neurons import (
    COLUMNS,
    ScannedNeuron,
    add_lookups,
    add_step,
    count_lanes,
    fire,
    load_neuron,
    lookup_step,
    outside,
)
from spikec.runtime.fast.tiles import LUT, PAIR, load_segment, lut_step
from spikec.runtime.fast.vector import (
    I16,
    I32,
    I64,
    LANES,
    Loop,
    Values,
    const,
    load,
    splat,
    store,
    vec,
)
from spikec.runtime.fast.words import Coding

MOST_STEPS = 8
"""Steps whose sums fit the registers."""
ALONE, TOGETHER, APART = range(3)
"""Whose words a pair's spikes go to: the pair's own; one word, with other channels; several."""
VECTOR = 2 * LANES
"""Bytes of 32 lanes of 16 bits."""
(
    PIXELS,
    SEGMENTS,
    SEGMENT_BYTES,
    SEGMENT_COUNTS,
    BIAS,
    ROWS,
    V0,
    OUT,
    OUT_BYTES,
    COUNTS,
    COUNT_BYTES,
    LANE_MASK,
    TOP,
    BOTTOM,
    ADDED,
    ADDED_BYTES,
    SUMS,
    SUMS_BYTES,
    FIELDS,
) = range(19)
"""What a kernel reads (int64): how many pixels that lie side by side; the first one's segments,
bytes from pixel to pixel, and how many each has (int64); bias (channel,) int32, neurons (channel,
column) and v0 (channel,) int32; words and counts of events; which lanes hold samples; what
potentials must not leave; sums of a layer before (channel, t, lane) that are added; and where to
keep the own ones, or 0."""


@dataclass(frozen=True, slots=True)
class Pairs:
    """Which code runs the channel pairs of a layer.

    Attributes:
        steps: T.
        half: Whether words index the first half of lookup tables.
        signed: Whether there are negative spikes.
        bits: Of the words that are written.
        words: ALONE, TOGETHER or APART.
        merged: Whether a channel's +1 and -1 spikes go to the same word.
        adds: Whether sums of a layer before are added.
        proven: Whether no potential can leave its width.
    """

    steps: int
    half: bool
    signed: bool
    bits: int
    words: int
    merged: bool
    adds: bool
    proven: bool


def words_of(coding: Coding, padded: int) -> int:
    """Whose words the pairs of a layer write, from the coding of its spikes."""
    if coding.kind != LUT:
        return TOGETHER
    groups = np.zeros((2, padded), np.int64)
    groups[:, : coding.channels] = coding.pos_group, coding.neg_group
    if coding.channels % PAIR:
        groups[:, coding.channels] = groups[:, coding.channels - 1]
    first, second = groups[:, : coding.channels + coding.channels % PAIR].reshape(2, -1, PAIR).T
    same = (first == second).all() and (not coding.signed or (first[:, 0] == first[:, 1]).all())
    if not same:
        return APART
    return ALONE if len(np.unique(first[:, 0])) == len(first) else TOGETHER


def _sums(b: IRBuilder, how: Pairs, field: Values, pair: Value, pixel: Value) -> list[Value]:
    """Currents of the pair, of all steps, channel by channel."""
    vt, steps = vec(I16), how.steps
    start: list[Value] = []
    for c in range(PAIR):
        place = b.add(b.mul(pair, const(4 * PAIR)), const(4 * c))
        bias = splat(b, b.trunc(load(b, field[BIAS], place, I32, 4), I16))
        start += [bias] * steps
    offset = b.mul(pair, const(PAIR * steps * VECTOR))
    places = [b.add(offset, const(VECTOR * k)) for k in range(PAIR * steps)]
    if how.adds:
        at = b.add(field[ADDED], b.mul(pixel, field[ADDED_BYTES]))
        start = [b.add(s, load(b, at, place, vt)) for s, place in zip(start, places, strict=True)]
    segments = b.add(field[SEGMENTS], b.mul(pixel, field[SEGMENT_BYTES]))
    count = load(b, field[SEGMENT_COUNTS], b.mul(pixel, const(8)), I64)
    outer = Loop(b, const(0), count, start)
    words, table, groups = load_segment(b, segments, outer.i, pair)
    inner = Loop(b, const(0), groups, [*outer.values, words, table])
    *sums, words, table = inner.values
    sums = lut_step(b, sums, words, table, steps, how.half)
    after = [b.add(words, const(VECTOR * steps)), b.add(table, const(2 * VECTOR * PAIR))]
    sums = outer.close(inner.close([*sums, *after])[:-2])
    with b.if_then(b.icmp_signed("!=", field[SUMS], const(0))):
        at = b.add(field[SUMS], b.mul(pixel, field[SUMS_BYTES]))
        for place, value in zip(places, sums, strict=True):
            store(b, value, at, place)
    return sums


def _write_words(
    b: IRBuilder,
    how: Pairs,
    neurons: list[ScannedNeuron],
    to: Value,
    fired: list[tuple[Value, Value | None]],
) -> None:
    """Write the spikes of a step."""
    if how.words == APART:
        for n, (up, down) in zip(neurons, fired, strict=True):
            add_lookups(b, n, to, up, down, how.merged)
        return
    parts = [lookup_step(b, n, up, down) for n, (up, down) in zip(neurons, fired, strict=True)]
    total, at = b.add(*parts), b.add(to, neurons[0].pos)
    if how.words == ALONE:
        store(b, total, at)
    else:
        add_step(b, at, total)


def _write(b: IRBuilder, args: Values, how: Pairs) -> Value:
    fields, pair = args
    field = [load(b, fields, const(8 * k), I64) for k in range(FIELDS)]
    vt, vw = vec(I16), vec(ir.IntType(how.bits))
    rows = b.add(field[ROWS], b.mul(pair, const(8 * COLUMNS * PAIR)))
    v0 = b.add(field[V0], b.mul(pair, const(4 * PAIR)))
    neurons = [
        load_neuron(b, b.add(rows, const(8 * COLUMNS * c)), b.add(v0, const(4 * c)), vt, vw)
        for c in range(PAIR)
    ]
    signature = ir.FunctionType(vt, [vt, vt])
    add_sat, smax, smin = (
        b.module.declare_intrinsic(f"llvm.{name}.v{LANES}i16", (), signature)
        for name in ("sadd.sat", "smax", "smin")
    )
    zero = ir.Constant(vt, None)
    loop = Loop(b, const(0), field[PIXELS], [zero, zero])
    high, low = loop.values
    sums = _sums(b, how, field, pair, loop.i)
    out = b.add(field[OUT], b.mul(loop.i, field[OUT_BYTES]))
    counts = b.add(field[COUNTS], b.mul(loop.i, field[COUNT_BYTES]))
    counts = b.add(counts, b.mul(pair, const(PAIR * how.steps)))
    state = [(n.v0, n.net) for n in neurons]
    for t in range(how.steps):
        fired: list[tuple[Value, Value | None]] = []
        for c, n in enumerate(neurons):
            v, net = state[c]
            v = b.call(add_sat, [v, sums[c * how.steps + t]])
            if not how.proven:
                high, low = b.call(smax, [high, v]), b.call(smin, [low, v])
            v, net, up, down = fire(b, n, v, net, how.signed)
            state[c] = v, net
            fired.append((up, down))
            place = b.add(counts, const(c * how.steps + t))
            count_lanes(b, up if down is None else b.or_(up, down), field[LANE_MASK], place, True)
        _write_words(b, how, neurons, b.add(out, const(LANES * how.bits // 8 * t)), fired)
    high, low = loop.close([high, low])
    return outside(b, high, low, *(splat(b, b.trunc(field[k], I16)) for k in (TOP, BOTTOM)))


@functools.cache
def pair_kernel(how: Pairs) -> Kernel:
    """(fields, pair): runs a channel pair of some pixels; 1 when a potential left its limits."""
    name = "_".join(str(int(value)) for value in astuple(how))
    return Kernel(f"pairs_{name}", 2, lambda b, args: _write(b, args, how))


def stays_within(reach: Array, v0: Array, theta: Array, steps: int, limit: int) -> bool:
    """Whether potentials stay below a limit; arrays are (channels,) of largest absolute values.

    Firing moves a potential towards 0, or by theta at most.
    """
    return bool(np.max(v0 + theta + steps * reach, initial=0) < limit)
