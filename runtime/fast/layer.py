"""Compiled layers: synapses, joins and neurons planned for the block driver."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from spikec.ir.neuron import total_weight
from spikec.ir.types import Array
from spikec.runtime.fast import blocks, neurons, pairs, state
from spikec.runtime.fast.links import (
    L1_BYTES,
    Link,
    Piece,
    assign_chunks,
    fits_tiles,
    pieces_of_link,
)
from spikec.runtime.fast.matrix import ROWS, has_tiles, tile_config
from spikec.runtime.fast.neurons import I16_MAX, SILENT, UNIT, Rule, Scan, scan_kernel
from spikec.runtime.fast.state import FIRES, KEEPS, Fixed, Work
from spikec.runtime.fast.tiles import (
    DOT,
    LUT,
    PAIR,
    QUAD,
    SEGMENT,
    TABLE,
    TILES,
    VECTOR_BYTES,
    tile_kernels,
)
from spikec.runtime.fast.vector import LANES
from spikec.runtime.fast.words import Coding, aligned, group_stride, words_shape

KEPT_BYTES = 64 << 20
"""Potentials of a traced layer that are kept for all lanes at a time, at least one row of them."""
FREE_NET = 1 << 14
"""Net sum at the start of neurons that may always send negative payloads; theirs stay below it."""
FREE_NET_32 = 1 << 30
"""The same where net sums have 32 bits."""


@dataclass(frozen=True, slots=True)
class NeuronSpec:
    """The neurons of a layer; arrays are (channels,) or (channels, height, width).

    Attributes:
        coding: Of the spikes.
        rule: How they fire.
        v0: Initial potentials.
        free: Whether the net sum may go below 0.
        low: Smallest potential of the declared width.
        high: Largest potential of the declared width.
        window: Whether they integrate all steps before they fire.
        doubles: Whether currents and thresholds of a window double and halve from step to step.
    """

    coding: Coding
    rule: Rule
    v0: Array
    free: bool = False
    low: int = -(1 << 30)
    high: int = (1 << 30) - 1
    window: bool = False
    doubles: bool = False


@dataclass(frozen=True, eq=False)
class Layer:
    """A compiled layer for one number of steps; `run` may be called by many threads.

    Attributes:
        links: Its inputs.
        space: Height and width of the result.
        channels: Of the result.
        steps: T.
        steps_in: T, or 1 for constant inputs.
        coding: Of the spikes; None when currents are the result.
        fixed: Tables and parameters.
        pixels: How many are run at a time.
        currents: Layers whose sums it adds to its own.
        tables: Arrays that `fixed` refers to by address.
    """

    links: tuple[Link, ...]
    space: tuple[int, int]
    channels: int
    steps: int
    steps_in: int
    coding: Coding | None
    fixed: Fixed
    pixels: int = 1
    currents: tuple[Layer, ...] = ()
    tables: list[Array] = field(default_factory=list)

    @property
    def shifts(self) -> bool:
        """Whether sums of some link are shifted."""
        return any(link.exponents is not None for link in self.links)

    @property
    def padded(self) -> int:
        """Channels with padding to whole register tiles."""
        return self.fixed.padded

    def out_shape(self, samples: int) -> tuple[int, ...]:
        """Shape of the resulting words or currents."""
        if self.coding is not None:
            return words_shape(self.coding, samples, self.space, self.steps)
        return self.sums_shape(samples)

    @property
    def out_dtype(self) -> type[np.integer]:
        """Element type of the result."""
        return np.int32 if self.coding is None else self.coding.dtype

    @property
    def sums_dtype(self) -> type[np.integer]:
        """Element type of the sums (block, y, x, channel, t, lane) that other layers add up."""
        return np.int16 if self.fixed.lookups and not self.fixed.wide else np.int32

    def sums_shape(self, samples: int) -> tuple[int, ...]:
        """Shape of these sums."""
        return (-(-samples // LANES), *self.space, self.padded, self.steps, LANES)


def compile_layer(
    links: list[Link],
    space: tuple[int, int],
    channels: int,
    steps: int,
    bias: Array,
    spec: NeuronSpec | None,
    reach: int,
    constant: bool = False,
    tiles: bool = False,
    currents: Sequence[tuple[Layer, Array]] = (),
) -> Layer:
    """Plan a layer fed by `links`, all of one coding kind.

    Args:
        links: Synapses that are summed.
        space: Height and width of the result.
        channels: Of the result.
        steps: T.
        bias: (channels,) or (channels, height, width), added in every step.
        spec: The neurons, or None to return currents.
        reach: Largest absolute current.
        constant: Whether the inputs are constant over time.
        tiles: Whether to sum dot words in matrix tiles where they suit.
        currents: Layers whose sums are added, and the largest that these are (channels,).

    Raises:
        OverflowError: when a partial weight sum does not fit a lookup table.
    """
    steps_in = 1 if constant else steps
    kind = links[0].coding.kind
    lookups = kind == LUT
    tiles = tiles and any(fits_tiles(link) for link in links)
    numbers = spec is not None and spec.coding.kind != LUT
    whole = ROWS if tiles else QUAD if numbers else PAIR
    padded = -(-channels // whole) * whole
    step_bytes = steps_in * VECTOR_BYTES[kind]
    pieces = [
        piece
        for i, link in enumerate(links)
        for piece in pieces_of_link(i, link, padded, step_bytes, tiles)
    ]
    sums = np.array(assign_chunks(pieces, step_bytes), np.int64)
    exponents = [_padded_exponents(link, padded) for link in links]
    for piece in pieces:
        piece.zero_sum = piece.zero_sum << exponents[piece.link]
    shifted = [0] * len(sums)
    for piece in pieces:
        own = exponents[piece.link]
        shifted[piece.chunk] = own.ctypes.data if own.any() else 0
    chunk_exponents = np.array(shifted, np.int64)
    start = per_pixel(bias, channels, padded)
    rows, v0 = neuron_rows(spec, channels, padded, steps, space[1])
    bounds = [piece.bound << exponents[piece.link] for piece in pieces]
    bounds += [_padded(bound, padded) for _, bound in currents]
    wide = _leaves_16_bits(bounds, start, rows, v0) or (not lookups and reach > I16_MAX)
    wide = wide or (lookups and bool(chunk_exponents.any()))  # shifted sums have 32 bits
    wide |= lookups and any(layer.sums_dtype is np.int32 for layer, _ in currents)
    rule = SILENT if spec is None else spec.rule
    wide |= rule.net(steps) >= FREE_NET or rule.largest > I16_MAX
    strides = [group_stride(link.coding, link.width, steps_in) for link in links]
    piece_rows, tables = _piece_rows(pieces, strides)
    zeros = _zero_sums(pieces, padded)
    coding = None if spec is None else spec.coding
    half = all(link.coding.entries <= TABLE // 2 for link in links)
    kernels = np.array([tile_kernels(kind, steps_in, half) for kind in sums])
    splits = bool(rows[:, :, neurons.SPLIT].any())
    how = None
    fits = lookups and not wide and not constant and steps <= pairs.MOST_STEPS and len(sums) == 1
    if spec is not None and fits and _runs_in_pairs(spec, rows, v0, start):
        most = np.abs(start[0]) + np.array(bounds).sum(axis=0)
        how = _pairs(spec, rows, v0, most, half, [layer for layer, _ in currents], padded, steps)
    fixed = Fixed(
        lookups=int(lookups),
        wide=int(wide),
        chunks=len(sums),
        sums=sums.ctypes.data,
        exponents=chunk_exponents.ctypes.data,
        kernels=kernels.ctypes.data,
        scan16=0 if wide or (spec is not None and spec.window) else _scan(spec, 16),
        split16=0 if wide or not splits else _scan(spec, 16, merged=False),
        scan32=_scan(spec, 32),
        split32=_scan(spec, 32, merged=False) if splits else 0,
        hardware=int(tiles and has_tiles()),
        rule=rule.code,
        levels=rule.most.bit_length(),
        window=int(spec is not None and spec.window),
        gain=total_weight(steps, radix=spec.doubles) if spec is not None and constant else 1,
        doubles=int(spec is not None and spec.doubles),
        mirrored=int(spec is not None and spec.doubles and spec.free),
        quad_words=0 if coding is None else coding.quad_words,
        zero_word=0 if coding is None else coding.zero_word,
        low=0 if spec is None else spec.low,
        high=0 if spec is None else spec.high,
        padded=padded,
        pieces=piece_rows.ctypes.data,
        piece_count=len(pieces),
        zeros=zeros.ctypes.data if zeros.any() else 0,
        taps=zeros.shape[1],
        bias=start.ctypes.data,
        bias_rows=len(start),
        v0=v0.ctypes.data,
        v0_rows=len(v0),
        neurons=rows.ctypes.data,
        neuron_rows=len(rows),
        currents=len(currents),
        pairs=0 if how is None else pairs.pair_kernel(how).address,
        shared_words=int(how is not None and how.words != pairs.ALONE),
    )
    pixels = 1
    if how is not None:
        far = any(piece.groups < 0 and not links[piece.link].coding.by_group for piece in pieces)
        size = sum(step_bytes * piece.table.shape[1] // piece.taps for piece in pieces)
        pixels = 1 if far else max(1, L1_BYTES // size)
    tables += [kernels, piece_rows, sums, zeros, start, v0, rows, chunk_exponents, *exponents]
    before = tuple(layer for layer, _ in currents)
    return Layer(
        tuple(links), space, channels, steps, steps_in, coding, fixed, pixels, before, tables
    )


def _runs_in_pairs(spec: NeuronSpec, rows: Array, v0: Array, start: Array) -> bool:
    """Whether channel pairs may run from spikes to spikes: one set of params for all pixels."""
    alike = len(rows) == len(v0) == len(start) == 1
    return alike and spec.rule.code == UNIT and not spec.window


def _pairs(
    spec: NeuronSpec,
    rows: Array,
    v0: Array,
    reach: Array,
    half: bool,
    currents: list[Layer],
    padded: int,
    steps: int,
) -> pairs.Pairs | None:
    """Which code runs the channel pairs; None where sums are added that it does not read."""
    if len(currents) > 1 or any(c.padded < padded or c.sums_dtype is np.int32 for c in currents):
        return None
    theta, split = rows[0, :, neurons.THETA], rows[0, :, neurons.SPLIT]
    limit = min(I16_MAX, spec.high, -spec.low)
    return pairs.Pairs(
        steps=steps,
        half=half,
        signed=spec.rule.least < 0,
        bits=8 * np.dtype(spec.coding.dtype).itemsize,
        words=pairs.words_of(spec.coding, padded),
        merged=not split.any(),
        adds=bool(currents),
        proven=pairs.stays_within(reach, np.abs(v0[0]), theta, steps, limit),
    )


def _scan(spec: NeuronSpec | None, bits: int, merged: bool = True) -> int:
    """The address of the code that scans neurons in some bits; 0 where there are none."""
    if spec is None:
        return 0
    kind, rule = LUT if spec.coding.kind == LUT else DOT, spec.rule
    if rule.code != UNIT:
        return scan_kernel(Scan(bits, DOT, rule=rule.code)).address
    return scan_kernel(Scan(bits, kind, rule.least < 0, merged)).address


def _padded_exponents(link: Link, padded: int) -> Array:
    """The link's weight exponent of each channel, int64."""
    none = np.zeros(0, np.int64)
    return _padded(none if link.exponents is None else link.exponents, padded)


def _padded(values: Array, padded: int) -> Array:
    """Values of some channels as int64, zeros behind them."""
    out = np.zeros(padded, np.int64)
    out[: len(values)] = values
    return out


def _leaves_16_bits(bounds: list[Array], start: Array, rows: Array, v0: Array) -> bool:
    """Whether sums of spikes, thresholds or initial potentials may not fit 16 bits."""
    bias = np.abs(start.astype(np.int64)).max(axis=0)
    reach = [sum(bounds) + bias, np.abs(v0), np.abs(rows[:, :, : neurons.NET])]
    return any(np.max(x, initial=0) > I16_MAX for x in reach)


def run_layer(
    layer: Layer,
    inputs: list[Array],
    lanes: Array,
    out: Array,
    counts: Array,
    units: Array,
    potentials: Array | None = None,
    currents: Sequence[Array] = (),
    sums: Array | None = None,
) -> bool:
    """Run a layer; True when a potential left its declared width.

    Args:
        layer: The layer.
        inputs: Words of its links.
        lanes: Bit mask of the samples in each block (block,).
        out: Result, of `layer.out_shape`.
        counts: Result (block, pixel, channel, t): how many samples fired; bytes.
        units: Result of payloads, as `counts`: how many samples sent 1 or -1.
        potentials: Result (t, sample, channel, height, width) int32, or None.
        currents: Sums of `layer.currents`.
        sums: Result, of `layer.sums_shape`: what its neurons receive; or None.
    """
    fixed, (height, width) = layer.fixed, layer.space
    size = (layer.padded, layer.steps_in, LANES)
    acc16 = aligned(size, np.int16)
    acc32 = aligned(size, np.int32)
    unshifted = aligned(size if layer.shifts else (0,), np.int32)
    unshifted[:] = 0
    gathered = aligned((layer.padded * fixed.window, layer.steps, LANES), np.int32)
    links = np.array([_link_row(k, w) for k, w in zip(layer.links, inputs, strict=True)], np.int64)
    added = np.array([_current_row(c, layer.padded) for c in currents], np.int64)
    segments = np.empty((layer.pixels, fixed.piece_count, SEGMENT), np.int64)
    segment_counts, fields = np.empty(layer.pixels, np.int64), np.zeros(pairs.FIELDS, np.int64)
    starts = np.zeros((fixed.chunks + 1,), np.int64)
    pattern = np.full((1 + 3 * fixed.piece_count,), -1, np.int64)
    start, config = np.empty(layer.padded, np.int32), tile_config()
    rows, kept = height, aligned((LANES,), np.int32)
    if potentials is not None:
        row = (width, layer.padded, layer.steps, LANES)
        rows = min(height, max(1, KEPT_BYTES // (4 * len(out) * math.prod(row))))
        kept = aligned((len(out), rows, *row), np.int32)
    work = Work(
        links=links.ctypes.data,
        lanes=lanes.ctypes.data,
        flags=(FIRES if layer.coding is not None else 0) | (0 if potentials is None else KEEPS),
        steps=layer.steps,
        steps_in=layer.steps_in,
        height=height,
        width=width,
        out=out.ctypes.data,
        out_vectors=out.shape[3] * out.shape[4],
        out_block=out.strides[0],
        out_row=out.strides[1],
        out_pixel=out.strides[2],
        out_group=out.strides[3],
        counts=counts.ctypes.data,
        units=units.ctypes.data,
        currents=added.ctypes.data,
        sums=0 if sums is None else sums.ctypes.data,
        kept=kept.ctypes.data,
        rows=rows,
        top=0,
        bottom=0,
        acc16=acc16.ctypes.data,
        acc32=acc32.ctypes.data,
        unshifted=unshifted.ctypes.data,
        gathered=gathered.ctypes.data,
        start=start.ctypes.data,
        pixels=layer.pixels,
        segments=segments.ctypes.data,
        segment_counts=segment_counts.ctypes.data,
        fields=fields.ctypes.data,
        starts=starts.ctypes.data,
        config=config.ctypes.data,
        pattern=pattern.ctypes.data,
    )
    fields[[pairs.SEGMENTS, pairs.SEGMENT_BYTES]] = segments.ctypes.data, segments.strides[0]
    fields[pairs.SEGMENT_COUNTS] = segment_counts.ctypes.data
    fields[[pairs.BIAS, pairs.ROWS, pairs.V0]] = fixed.bias, fixed.neurons, fixed.v0
    fields[pairs.OUT_BYTES] = out.strides[2]
    fields[pairs.COUNT_BYTES] = layer.padded * layer.steps
    fields[[pairs.TOP, pairs.BOTTOM]] = min(fixed.high, I16_MAX - 1), max(fixed.low, -I16_MAX)
    if currents:
        fields[pairs.ADDED_BYTES] = currents[0].strides[2]
    fields[pairs.SUMS_BYTES] = 2 * LANES * layer.padded * layer.steps
    bad = 0
    for top in range(0, height, rows):
        bottom = min(height, top + rows)
        bad |= blocks.run_blocks(fixed, work._replace(top=top, bottom=bottom), len(out))
        if potentials is not None:
            _keep(kept[:, : bottom - top], potentials[:, :, :, top:bottom])
    return bool(bad)


def _keep(kept: Array, potentials: Array) -> None:
    """Copy rows (block, row, x, channel, t, lane) to (t, sample, channel, row, x)."""
    steps, samples, channels, rows, width = potentials.shape
    part = kept.transpose(4, 0, 5, 3, 1, 2)[:, :, :, :channels]
    potentials[:] = part.reshape(steps, -1, channels, rows, width)[:, :samples]


def _link_row(link: Link, words: Array) -> list[int]:
    _, height, width, _, _, _ = words.shape
    block, row, pixel = words.strides[:3]
    return [words.ctypes.data, block, row, pixel, height, width, *link.strides]


def _current_row(sums: Array, padded: int) -> list[int]:
    """A row for `state.C_ADDR` and what follows it, of sums that go to `padded` channels."""
    channels, steps = sums.shape[3:5]
    return [sums.ctypes.data, sums.strides[2], min(channels, padded) * steps, sums.itemsize]


def per_pixel(values: Array, channels: int, padded: int) -> Array:
    """(channels,) or (channels, height, width) as int32 (pixel or 1, padded channels)."""
    flat = by_pixel(values, channels)
    out = np.zeros((flat.shape[0], padded), np.int32)
    out[:, :channels] = flat
    return out


def neuron_rows(
    spec: NeuronSpec | None, channels: int, padded: int, steps: int, width: int = 1
) -> tuple[Array, Array]:
    """Rows (pixel or 1, channel, column) for the scan, and initial potentials.

    Channels of padding receive nothing, and thresholds of 1 keep them silent.
    """
    rule = SILENT if spec is None else spec.rule
    parts = {neurons.THETA: rule.theta, neurons.FIRE: rule.fire, neurons.NEGATIVE: rule.negative}
    tables = {column: by_pixel(part, channels) for column, part in parts.items()}
    rows = np.zeros((max(map(len, tables.values())), padded, neurons.COLUMNS), np.int64)
    rows[:, :, (neurons.THETA, neurons.FIRE)] = 1
    if spec is None:
        return rows, np.zeros((1, padded), np.int32)
    live = rows[:, :channels]
    for column, table in tables.items():
        live[:, :, column] = table
    many = FREE_NET_32 if rule.net(steps) >= FREE_NET else FREE_NET
    live[:, :, neurons.NET] = many if spec.free else 0
    live[:, :, neurons.LEAST], live[:, :, neurons.MOST] = rule.least, rule.most
    coding = spec.coding
    unit = group_stride(coding, width, steps)
    live[:, :, neurons.POS_OFF] = coding.pos_group * unit
    live[:, :, neurons.POS_STEP] = coding.pos_step
    live[:, :, neurons.NEG_OFF] = coding.neg_group * unit
    live[:, :, neurons.NEG_STEP] = coding.neg_step
    splits = rows[:, :, neurons.POS_OFF] != rows[:, :, neurons.NEG_OFF]
    split = splits.reshape(len(rows), -1, PAIR).any(axis=2)
    rows[:, :, neurons.SPLIT] = split.repeat(PAIR, axis=1)
    return rows, per_pixel(spec.v0, channels, padded)


def by_pixel(values: Array, channels: int) -> Array:
    """(), (channels,) or (channels, height, width) as (pixel or 1, channels)."""
    wide = np.broadcast_to(values, (channels,)) if values.ndim < 2 else values
    return np.asarray(wide, np.int64).reshape(channels, -1).T


def _piece_rows(pieces: list[Piece], strides: list[int]) -> tuple[Array, list[Array]]:
    """Rows of the pieces, and what they refer to; strides are from group to group of each link."""
    rows = np.zeros((len(pieces), state.P_COLUMNS), np.int64)
    kept: list[Array] = []
    for row, p in zip(rows, pieces, strict=True):
        table = aligned(p.table.shape, p.table.dtype)
        table[:] = p.table
        shifts = np.ascontiguousarray(p.shifts * [strides[p.link], 1], np.int64)
        kept += [table, shifts]
        row[:] = (
            p.link,
            p.dy,
            p.dx,
            p.group * strides[p.link],
            table.ctypes.data,
            table.strides[0],
            p.groups,
            shifts.ctypes.data,
            p.chunk,
            p.taps,
            *_tap_bytes(p, table),
        )
    return rows, kept


def _tap_bytes(piece: Piece, table: Array) -> tuple[int, int]:
    """What the first and the last of the taps that lie in the image add to a table's address."""
    if piece.kind == TILES:
        return (table.strides[1], table.strides[2]) if table.shape[1] > 1 else (0, 0)
    return piece.groups * table.strides[1], 0


def _zero_sums(pieces: list[Piece], padded: int) -> Array:
    """Zero-point contributions (piece, tap, channel)."""
    out = np.zeros((len(pieces), max(p.taps for p in pieces), padded), np.int64)
    for row, piece in zip(out, pieces, strict=True):
        row[: piece.taps] = piece.zero_sum
    return out
