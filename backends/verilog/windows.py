"""The geometry of a `window`: which words a synapse reads, and how long a ring must hold them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import reduce

import numpy as np

from spikec.backends.lowering.records import Axis, Integers, Value


@dataclass(slots=True, eq=False)
class Edge:
    """A stage's reading of a source, pixel by pixel of the stage's result.

    Attributes:
        source: What is read, in the reader's shape and under the name of the stream's maker.
        need: For each pixel of the result, the last pixel of the source that it and those before
            it read; -1 for none.
        release: For each pixel of the result, the first pixel of the source that may still be
            needed while it is computed.
        slack: Pixels that the ring holds beyond what is needed, so that both sides keep going.
        held: Most pixels that it must hold; the schedule finds it.
    """

    source: Value
    need: Integers
    release: Integers
    slack: int
    held: int = 0

    def wanted(self, pixel: int) -> int:
        """Elements of the source that must have come for a pixel of the result."""
        return (int(self.need[pixel]) + 1) * self.source.channels


@dataclass(frozen=True, slots=True)
class Walk:
    """The parts of a source's channels that blocks of a result's channels read.

    Attributes:
        blocks: Parts of the channels.
        repeats: Times that each is read, for one block of the result's channels after the other.
        beats: Words of a part.
        lanes: Channels in a word.
    """

    blocks: int
    repeats: int
    beats: int
    lanes: int


@dataclass(slots=True, eq=False)
class Window:
    """One instance of the library's `window`.

    Attributes:
        edge: What it reads, and when.
        axes: Geometry of each axis.
        walk: Over channels.
        frees: Slowest axes whose progress frees places of the ring.
    """

    edge: Edge
    axes: tuple[Axis, ...]
    walk: Walk
    frees: int
    taps: int = field(init=False)

    def __post_init__(self) -> None:
        self.taps = math.prod(axis.taps for axis in self.axes)

    @property
    def pixel(self) -> int:
        """Words of a pixel."""
        return self.edge.source.channels // self.walk.lanes

    @property
    def beats(self) -> int:
        """Words that are read for one block of the result's channels."""
        return self.taps * self.walk.beats

    @property
    def ring(self) -> int:
        """Bits of an address of the ring."""
        words = (self.edge.held + self.edge.slack) * self.pixel
        return max(1, (words - 1).bit_length())

    @property
    def pitches(self) -> list[int]:
        """Words from one place of each axis to the next."""
        return [n * self.pixel for n in pitches(self.axes)]

    @property
    def frame(self) -> int:
        """Words of a sample."""
        return self.edge.source.positions * self.pixel


def pitches(axes: Sequence[Axis]) -> list[int]:
    """Pixels from one place of each axis to the next."""
    return [math.prod(axis.inputs for axis in axes[n + 1 :]) for n in range(len(axes))]


def window_of(source: Value, axes: tuple[Axis, ...], walk: Walk) -> Window:
    """The window of a synapse on a source."""
    last, least = _reads(axes)
    need = np.maximum.accumulate(last)
    following = np.minimum.accumulate(least[::-1])[::-1]
    frees, release = next(
        (count, bound)
        for count in range(len(axes), -1, -1)
        if ((bound := _release(axes, count)) <= following).all()
    )
    if math.prod(axis.outputs for axis in axes) == 1:
        slack = source.positions
    else:
        long = [n for n, axis in enumerate(axes) if axis.inputs > 1]
        slack = 1 + (axes[long[0]].stride * pitches(axes)[long[0]] if long else 0)
    return Window(Edge(source, need, release, slack), axes, walk, frees)


def _reads(axes: Sequence[Axis]) -> tuple[Integers, Integers]:
    """For each output pixel the last and the first pixel that it reads; -1 and far off for none."""
    far = math.prod(axis.inputs for axis in axes)
    lasts, firsts = [], []
    for axis, pitch in zip(axes, pitches(axes), strict=True):
        reads = np.arange(axis.outputs)[:, None] * axis.stride - axis.pad
        reads = reads + np.arange(axis.taps)[None] * axis.dilation
        places = reads // axis.up
        inside = (reads >= 0) & (reads % axis.up == 0) & (places < axis.inputs)
        lasts.append(np.where(inside, places, -far).max(axis=1) * pitch)
        firsts.append(np.where(inside, places, 2 * far).min(axis=1) * pitch)
    last = reduce(np.add.outer, lasts).reshape(-1)
    first = reduce(np.add.outer, firsts).reshape(-1)
    return np.where(last < 0, -1, last), np.where(first > far, 2 * far, first)


def _release(axes: Sequence[Axis], frees: int) -> Integers:
    """What the library's window frees: the first tap's place on the `frees` slowest axes."""
    starts = []
    for number, (axis, pitch) in enumerate(zip(axes, pitches(axes), strict=True)):
        first = np.arange(axis.outputs) * axis.stride - axis.pad
        first = first if axis.up == 1 else np.maximum(first, 0) // axis.up
        starts.append(first * (pitch if number < frees else 0))
    return np.asarray(reduce(np.add.outer, starts).reshape(-1), np.int64)
