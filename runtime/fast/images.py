"""Images of bytes and the tables of layers that read them, for runs of few samples (see `rows`)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from spikec.ir.neuron import total_weight
from spikec.ir.types import Array
from spikec.runtime.fast.layer import NeuronSpec, by_pixel, neuron_rows, per_pixel
from spikec.runtime.fast.links import Link, dense_taps
from spikec.runtime.fast.match import Synapse
from spikec.runtime.fast.neurons import SILENT, Rule
from spikec.runtime.fast.rows import (
    ACROSS,
    N_ADDR,
    N_COLUMNS,
    N_COUNT,
    N_DEPTH,
    N_DOWN,
    N_MANY,
    N_OFFSETS,
    N_ONE,
    N_OWN,
    N_ROW,
    N_SAMPLE,
    N_SHIFTS,
    N_SIZE,
    N_TABLE,
    N_TAPS,
    POSITIONS,
    RECORD,
    WIDTH,
    RowLayer,
    block,
    row_scan,
    run_rows,
)
from spikec.runtime.fast.words import aligned, number_coding


@dataclass(frozen=True, slots=True)
class Image:
    """Where a value's bytes lie: (sample, y, x, t, channel), see `rows`.

    Attributes:
        channels: Of the value.
        space: Height and width of the value.
        steps: T, or 1 for constants.
        zero: What is added to each value.
        size: Bytes of each: 1 without a sign, or 2 with one.
        border: Pixels above, on the left, below and on the right; all zeros.
    """

    channels: int
    space: tuple[int, int]
    steps: int
    zero: int
    size: int = 1
    border: tuple[int, int, int, int] = (0, 0, 0, 0)

    @property
    def padded(self) -> int:
        """Channels, rounded up to whole vectors."""
        return whole(self.channels)

    @property
    def dtype(self) -> type[np.integer]:
        """Element type."""
        return np.uint8 if self.size == 1 else np.int16

    @property
    def pixel(self) -> int:
        """Bytes of a pixel."""
        return self.steps * self.padded * self.size

    @property
    def row(self) -> int:
        """Bytes of a row."""
        return self.pixel * (self.border[1] + self.space[1] + self.border[3])

    @property
    def sample(self) -> int:
        """Bytes of a sample."""
        return self.row * (self.border[0] + self.space[0] + self.border[2])

    def start(self, above: int = 0, left: int = 0) -> int:
        """Bytes before the pixel that lies some pixels above and left of the first one."""
        return (self.border[0] - above) * self.row + (self.border[1] - left) * self.pixel

    def shape(self, samples: int) -> tuple[int, ...]:
        """Of the image of some samples."""
        (top, left, bottom, right), (height, width) = self.border, self.space
        return samples, top + height + bottom, left + width + right, self.steps, self.padded

    def inside(self, image: Array) -> Array:
        """What lies inside the border (sample, y, x, t, channel)."""
        (top, left, _, _), (height, width) = self.border, self.space
        return image[:, top : top + height, left : left + width, :, : self.channels]

    def pack(self, values: Array, image: Array) -> None:
        """Write values (steps, sample, channel, y, x) into the image of zeros."""
        self.inside(image)[:] = values.transpose(1, 3, 4, 0, 2).astype(np.int16) + self.zero

    def unpack(self, image: Array) -> Array:
        """Values (steps, sample, channel, y, x) int16."""
        return self.inside(image).transpose(3, 0, 4, 1, 2).astype(np.int16) - self.zero

    def read_by(self, reach: Iterable[tuple[int, int, int, int, int]]) -> Image:
        """With a border for windows of (pad, results, stride, taps, dilation) by axis."""
        before, after = [], []
        for (pad, results, stride, taps, gap), size in zip(reach, self.space, strict=True):
            before.append(pad)
            after.append(max(0, (results - 1) * stride + (taps - 1) * gap - pad - (size - 1)))
        both = zip(self.border, (*before, *after), strict=True)
        top, left, bottom, right = (max(old, new) for old, new in both)
        return replace(self, border=(top, left, bottom, right))


def whole(channels: int) -> int:
    """Channels, rounded up to whole vectors."""
    return -(-channels // WIDTH) * WIDTH


@dataclass(frozen=True, eq=False)
class Rows:
    """The tables of a layer.

    Attributes:
        layer: All but addresses of one run.
        record: The same as a record.
        links: int64 rows of its links (see `rows`), but for the addresses of images.
        names: The image that each link reads, and the bytes before its first tap.
        tables: Arrays that the layer refers to by address.
    """

    layer: RowLayer
    record: Array
    links: Array
    names: list[tuple[str, int]]
    tables: list[Array]

    def run(self, images: Mapping[str, Array], out: Array, start: int, **own: int) -> bool:
        """Run the layer; True when a potential left its declared width.

        Args:
            images: Of its inputs.
            out: The image of the result, or int32 sums (sample, y, x, t, channel).
            start: Bytes before the first result in `out`.
            own: Other fields of the layer that belong to this run.
        """
        layer, links, record = self.layer, self.links.copy(), self.record.copy()
        links[:, N_ADDR] = [images[name].ctypes.data + start for name, start in self.names]
        row = (layer.width * layer.steps_in, layer.padded)
        sums = aligned(row, np.int32)
        shifted = np.zeros(row if self.links[:, N_SHIFTS].any() else 0, np.int32)
        own |= {"links": links.ctypes.data, "samples": len(out), "sums": out.ctypes.data}
        if layer.fires:
            own |= {"out": out.ctypes.data + start, "sums": sums.ctypes.data}
        for field, value in own.items():
            record[field] = value
        record["shifted"] = shifted.ctypes.data
        return bool(run_rows(record[0]))


def row_tables(
    name: str,
    space: tuple[int, int],
    synapses: Sequence[Synapse],
    bias: Array,
    spec: NeuronSpec | None,
    images: Mapping[str, Image],
    steps: int,
) -> Rows:
    """The tables of a layer; its result is an image where it fires.

    Args:
        name: Of its result.
        space: Height and width of the result.
        synapses: What is summed.
        bias: (channels,) or (channels, height, width), added in every step.
        spec: The neurons, or None to return sums.
        images: Of the synapses' sources and of the result, if it fires.
        steps: T.
    """
    channels = len(synapses[0].weight)
    padded, out = whole(channels), images.get(name)
    start = by_pixel(bias, channels)
    rows: list[Array] = []
    names: list[tuple[str, int]] = []
    tables: list[Array] = []
    for synapse in synapses:
        image = images[synapse.source.name]
        link = _Link(synapse, image, padded)
        start = start - image.zero * link.total()[:channels]
        for row, kept in link.rows(space[1]):
            rows.append(row)
            tables += kept
            names.append((synapse.source.name, image.start(*synapse.pads)))
    steps_in = images[synapses[0].source.name].steps
    rule = SILENT if spec is None else spec.rule
    table, v0 = neuron_rows(spec, channels, padded, steps)
    neurons = np.ascontiguousarray(table.transpose(0, 2, 1), np.int32)
    starts = per_pixel(start.T, channels, padded)
    tables += [neurons, v0, starts]
    layer = RowLayer(
        links=0,
        link_count=len(rows),
        samples=0,
        height=space[0],
        width=space[1],
        steps=steps,
        steps_in=steps_in,
        padded=padded,
        fires=int(spec is not None),
        bias=starts.ctypes.data,
        bias_rows=len(starts),
        neurons=neurons.ctypes.data,
        neuron_rows=len(neurons),
        v0=v0.ctypes.data,
        v0_rows=len(v0),
        scan=0 if spec is None or out is None else _scan(rule, out.size),
        rule=rule.code,
        levels=rule.most.bit_length(),
        window=int(spec is not None and spec.window),
        gain=total_weight(steps, radix=spec.doubles) if spec is not None and steps_in == 1 else 1,
        doubles=int(spec is not None and spec.doubles),
        mirrored=int(spec is not None and spec.doubles and spec.free),
        low=0 if spec is None else spec.low,
        high=0 if spec is None else spec.high,
        zero=0 if out is None else out.zero,
        sums=0,
        shifted=0,
        out=0,
        size=1 if out is None else out.size,
        out_sample=0 if out is None else out.sample,
        out_row=0 if out is None else out.row,
        counts=0,
        units=0,
        kept=0,
    )
    return Rows(layer, np.array([tuple(layer)], RECORD), np.array(rows, np.int64), names, tables)


def _scan(rule: Rule, size: int) -> int:
    """The address of the kernel that scans neurons and writes payloads of `size` bytes."""
    return row_scan(rule.code, rule.least < 0, size).address


def _blocks(size: int, positions: int, vectors: int) -> list[int]:
    """Addresses of the kernels that sum so many positions and vectors of channels: as N_ONE has."""
    needs = [
        (1, 1, positions % POSITIONS and vectors % ACROSS),
        (1, ACROSS, positions % POSITIONS and vectors >= ACROSS),
        (POSITIONS, 1, positions >= POSITIONS and vectors % ACROSS),
        (POSITIONS, ACROSS, positions >= POSITIONS and vectors >= ACROSS),
    ]
    return [block(size, *shape).address if need else 0 for *shape, need in needs]


@dataclass(frozen=True, eq=False)
class _Link:
    """A synapse on its way to rows of a link table."""

    synapse: Synapse
    image: Image
    padded: int

    def total(self) -> Array:
        """Sums of all weights (channel,)."""
        sums = np.zeros(self.padded, np.int64)
        sums[: len(self.synapse.weight)] = self.synapse.weight.sum(axis=(1, 2, 3), dtype=np.int64)
        return sums << self._exponents()

    def _exponents(self) -> Array:
        exponents = np.zeros(self.padded, np.int64)
        if self.synapse.exponents is not None:
            exponents[: len(self.synapse.exponents)] = self.synapse.exponents
        return exponents

    def _taps(self) -> Array:
        """Weights (tap, padded out, in)."""
        s = self.synapse
        coding = number_coding(s.source.channels, s.source.low, s.source.high)
        taps = dense_taps(Link(s.weight, None, coding, s.groups), self.padded)
        return taps.reshape(-1, *taps.shape[2:])

    def rows(self, width: int) -> list[tuple[Array, list[Array]]]:
        """Rows of the link table, and the arrays that each refers to."""
        s, image = self.synapse, self.image
        positions = np.arange(width)[:, None] * s.strides[1] * image.pixel
        offsets = (positions + np.arange(image.steps) * image.padded * image.size).reshape(-1)
        down = np.arange(s.weight.shape[2]) * s.dilations[0] * image.row
        right = np.arange(s.weight.shape[3]) * s.dilations[1] * image.pixel
        taps = (down[:, None] + right).reshape(-1)
        exponents = self._exponents()
        if self.synapse.own_channels:
            weights = np.zeros((len(taps), self.padded), np.int64)
            weights[:, : len(s.weight)] = s.weight.reshape(len(s.weight), -1).T
            parts, shifts = [(weights << exponents).astype(np.int32)], None
        else:
            parts = _tables(self._taps(), image.padded, image.size)
            shifts = exponents.astype(np.int32) if exponents.any() else None
        result = []
        for part in parts:
            table = aligned(part.shape, part.dtype)
            table[:] = part
            row = np.zeros(N_COLUMNS, np.int64)
            row[[N_SAMPLE, N_ROW, N_DOWN]] = image.sample, image.row, s.strides[0]
            row[[N_OFFSETS, N_TAPS, N_COUNT]] = offsets.ctypes.data, taps.ctypes.data, len(taps)
            row[[N_DEPTH, N_TABLE]] = image.padded // WIDTH, table.ctypes.data
            row[[N_SIZE, N_OWN]] = image.size, self.synapse.own_channels
            row[N_SHIFTS] = 0 if shifts is None else shifts.ctypes.data
            if not self.synapse.own_channels:
                blocks = _blocks(image.size, len(offsets), self.padded // WIDTH)
                row[N_ONE : N_MANY + ACROSS] = blocks
            kept = [offsets, taps, table, *([] if shifts is None else [shifts])]
            result.append((row, kept))
        return result


def _tables(taps: Array, inputs: int, size: int) -> list[Array]:
    """Tables of weights (tap, out, in), in parts of `size` bytes.

    Of each block of vectors of results: [tap, depth, quad, vector, channel, 4]; of halves pairs
    stand for quads.
    """
    kind, many = (np.int8, 4) if size == 1 else (np.int16, 2)
    low, high = np.iinfo(kind).min, np.iinfo(kind).max
    count, outs, given = taps.shape
    rest = np.zeros((count, outs, inputs), np.int64)
    parts: list[Array] = []
    rest[:, :, :given] = taps
    while not parts or rest.any():
        part = np.clip(rest, low, high)
        rest = rest - part
        blocks = []
        for first in range(0, outs, WIDTH * ACROSS):
            own = part[:, first : first + WIDTH * ACROSS]
            cut = own.reshape(count, -1, WIDTH, inputs // WIDTH, WIDTH // many, many)
            blocks.append(cut.transpose(0, 3, 4, 1, 2, 5).astype(kind).reshape(-1))
        parts.append(np.concatenate(blocks))
    return parts
