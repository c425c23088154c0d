"""What computes each stage of a plan: records of hardware, before anything is printed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np

from spikec.backends.lowering.records import (
    Integers,
    Layer,
    Pool,
    Range,
    Reshape,
    Route,
    Term,
    gathers,
)
from spikec.backends.verilog.streams import Stream, stream_of
from spikec.backends.verilog.windows import Edge, Walk, Window, window_of

LATENCY = 12
"""Cycles from the last word of a pixel to the first element that leaves, about."""


@dataclass(frozen=True, slots=True)
class Fold:
    """What a layer computes at once.

    Attributes:
        outputs: Neurons whose sums are accumulated together.
        inputs: Channels that are weighed together.
        units: Neurons that are scanned together.
        diagonal: Whether each neuron reads the channel of its own lane alone.
    """

    outputs: int
    inputs: int
    units: int
    diagonal: bool

    @property
    def products(self) -> int:
        """Products in a cycle, for each step."""
        return self.outputs * (1 if self.diagonal else self.inputs)


def walk_of(term: Term, fold: Fold) -> Walk | None:
    """How a term's source is read in a fold; None where the fold does not fit the term."""
    channels = term.source.channels
    if channels % fold.inputs:
        return None
    if fold.diagonal:
        return Walk(term.outputs // fold.outputs, 1, 1, fold.inputs) if term.channelwise else None
    group = term.outputs // term.groups  # result channels that read the same channels
    if group % fold.outputs == 0:
        blocks, repeats, span = term.groups, group // fold.outputs, term.inputs
    elif fold.outputs % group == 0:
        blocks, repeats = term.outputs // fold.outputs, 1
        span = fold.outputs // group * term.inputs
    else:
        return None
    if span % fold.inputs == 0:
        return Walk(blocks, repeats, span // fold.inputs, fold.inputs)
    shared = fold.inputs // span
    if fold.inputs % span == 0 and blocks % shared == 0:
        return Walk(blocks // shared, repeats * shared, 1, fold.inputs)
    return None


@dataclass(slots=True, eq=False)
class LayerEngine:
    """Windows, sums and neurons of a layer.

    Attributes:
        stage: The layer.
        fold: What is computed at once.
        windows: One for each term.
        inputs: The stream of each term.
        sent: A stream that holds those of all terms.
        out: What leaves.
        steps: T.
    """

    stage: Layer
    fold: Fold
    windows: tuple[Window, ...]
    inputs: tuple[Stream, ...]
    sent: Stream
    out: Stream
    steps: int

    @property
    def edges(self) -> list[Edge]:
        """What it reads."""
        return [window.edge for window in self.windows]

    @property
    def blocks(self) -> int:
        """Blocks of neurons of a pixel."""
        return self.stage.result.channels // self.fold.outputs

    @property
    def beats(self) -> int:
        """Words for the sums of one block."""
        return sum(window.beats for window in self.windows)

    @property
    def scan(self) -> int:
        """Cycles in which the neurons of one turn are scanned."""
        return self.out.steps * (2 if gathers(self.stage.rule) else 1)

    @property
    def pixel_cycles(self) -> int:
        """Cycles of a pixel."""
        scans = self.scan * (self.fold.outputs // self.fold.units)
        return self.blocks * max(self.beats, scans, self.fold.outputs)

    @property
    def local(self) -> bool:
        """Whether weights differ from pixel to pixel."""
        return any(term.local for term in self.stage.terms)

    @property
    def weight_words(self) -> int:
        """Words of the memory of weights; 0 where all weights are 1."""
        if self.fold.diagonal and all(term.weights is None for term in self.stage.terms):
            return 0
        return self.beats * self.blocks * (self.stage.result.positions if self.local else 1)

    @property
    def weight_bits(self) -> int:
        """Bits of a weight."""
        ends = [Range(0, 1)]
        ends += [Range.of(term.weights) for term in self.stage.terms if term.weights is not None]
        return max(end.bits for end in ends)

    def weights(self) -> Integers:
        """Words of weights (words, outputs * inputs), in the order in which they are read."""
        stage, fold = self.stage, self.fold
        places = stage.result.positions if self.local else 1
        parts = []
        for term, window in zip(stage.terms, self.windows, strict=True):
            parts.append(_expanded(term, window.walk, fold, places))
        joined = np.concatenate(parts, axis=2)
        return joined.reshape(self.weight_words, -1)


def _expanded(term: Term, walk: Walk, fold: Fold, places: int) -> Integers:
    """Weights of a term (places, blocks, taps * beats, outputs, rows)."""
    outputs, blocks = term.outputs, term.outputs // fold.outputs
    if term.local:
        assert term.weights is not None
        plain = term.weights.reshape(outputs, -1).T.reshape(places, outputs, 1, 1)
    else:
        ones = np.ones((outputs, term.inputs, term.taps), np.int64)
        given = ones if term.weights is None else term.weights.reshape(ones.shape)
        plain = np.broadcast_to(given[None], (places, *given.shape))
    if fold.diagonal:
        by_block = plain.reshape(places, blocks, fold.outputs, term.taps)
        return by_block.transpose(0, 1, 3, 2)[..., None]
    group = outputs // term.groups
    channels = np.arange(blocks) // walk.repeats * (walk.beats * walk.lanes)
    read = channels[:, None] + np.arange(walk.beats * walk.lanes)[None]  # (blocks, channels read)
    own = np.arange(outputs).reshape(blocks, fold.outputs) // group * term.inputs
    inner = read[:, None, :] - own[:, :, None]  # (blocks, outputs, channels read)
    inside = (inner >= 0) & (inner < term.inputs)
    rows = plain.reshape(places, blocks, fold.outputs, term.inputs, term.taps)
    index = np.where(inside, inner, 0)[None, ..., None]
    index = np.broadcast_to(index, (places, *inner.shape, term.taps))
    picked = np.take_along_axis(rows, index, axis=3) * inside[None, ..., None]
    cut = picked.reshape(places, blocks, fold.outputs, walk.beats, walk.lanes, term.taps)
    ordered = cut.transpose(0, 1, 5, 3, 2, 4)
    return ordered.reshape(places, blocks, term.taps * walk.beats, fold.outputs, walk.lanes)


@dataclass(slots=True, eq=False)
class PoolEngine:
    """A window and a `max_pool`."""

    stage: Pool
    window: Window
    sent: Stream
    out: Stream

    @property
    def edges(self) -> list[Edge]:
        """What it reads."""
        return [self.window.edge]

    @property
    def pixel_cycles(self) -> int:
        """Cycles of a pixel."""
        return self.stage.result.channels * self.window.taps


@dataclass(frozen=True, slots=True)
class Table:
    """What a `reorder` reads.

    Attributes:
        source: For each element that leaves in a period, the number of the source; -1 for 0.
        position: Where it stands in the source, in the first period.
        periods: Periods in a sample.
        steps: By source, what is added to positions in each further period.
        lags: By source, how far behind the furthest element that was read an element is read.
    """

    source: Integers
    position: Integers
    periods: int
    steps: tuple[int, ...]
    lags: tuple[int, ...]


@dataclass(slots=True, eq=False)
class ReorderEngine:
    """Elements in other places."""

    stage: Route | Reshape
    table: Table
    edges: list[Edge]
    inputs: tuple[Stream, ...]
    out: Stream

    @property
    def pixel_cycles(self) -> int:
        """Cycles of a pixel."""
        return self.stage.result.channels

    @property
    def ring(self) -> int:
        """Bits of an address of each ring."""
        words = [
            max((e.held + e.slack) * e.source.channels, lag + 2)
            for e, lag in zip(self.edges, self.table.lags, strict=True)
        ]
        return max(1, (max(words) - 1).bit_length())


Engine: TypeAlias = "LayerEngine | PoolEngine | ReorderEngine"


def layer_engine(stage: Layer, fold: Fold, steps: int) -> LayerEngine:
    """The engine of a layer in a fold that fits all its terms."""
    windows = []
    for term in stage.terms:
        walk = walk_of(term, fold)
        assert walk is not None
        windows.append(window_of(term.source, term.axes, walk))
    inputs = tuple(stream_of(term.source, steps) for term in stage.terms)
    sent = inputs[0]
    for other in inputs[1:]:
        sent = sent.joined(other)
    out = stream_of(stage.result, steps)
    return LayerEngine(stage, fold, tuple(windows), inputs, sent, out, steps)


def pool_engine(stage: Pool, steps: int) -> PoolEngine:
    """The engine of a max pooling."""
    walk = Walk(stage.source.channels, 1, 1, 1)
    sent, out = stream_of(stage.source, steps), stream_of(stage.result, steps)
    return PoolEngine(stage, window_of(stage.source, stage.axes, walk), sent, out)


def fitting_folds(stage: Layer) -> Sequence[Fold]:
    """All folds that fit a layer's terms, without units."""
    channels = stage.result.channels
    sources = [term.source.channels for term in stage.terms]
    folds = []
    for outputs in _divisors(channels):
        if all(term.channelwise for term in stage.terms):
            folds.append(Fold(outputs, outputs, 1, True))
            continue
        for inputs in _divisors(int(np.gcd.reduce(sources))):
            fold = Fold(outputs, inputs, 1, False)
            if all(walk_of(term, fold) is not None for term in stage.terms):
                folds.append(fold)
    return folds


def _divisors(number: int) -> list[int]:
    return [n for n in range(1, number + 1) if number % n == 0]
