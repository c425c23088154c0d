"""What an integer graph is for targets that write programs or circuits: a plan in typed records.

A plan knows nothing of the language it will be printed in. Values are spikes or numbers; stages
make one value each: layers (a sum of synapses and a rule), pools and routes.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

Integers = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Range:
    """Smallest and largest value that a number takes."""

    low: int
    high: int

    @property
    def bits(self) -> int:
        """Width of the smallest signed integer that holds it."""
        return max(self.high, -self.low - 1, 0).bit_length() + 1

    def hull(self, *others: Range) -> Range:
        """The smallest range that holds this one and the others."""
        every = (self, *others)
        return Range(min(r.low for r in every), max(r.high for r in every))

    def __add__(self, other: Range) -> Range:
        return Range(self.low + other.low, self.high + other.high)

    @staticmethod
    def of(array: Integers) -> Range:
        """The range of an array's elements and 0."""
        return Range(min(0, int(array.min(initial=0))), max(0, int(array.max(initial=0))))


# Values


@dataclass(frozen=True, slots=True)
class Spikes:
    """Events of every step; an element is the sum of the payloads of the planes that hold it.

    Attributes:
        payloads: What an event of each plane stands for: (1,) for unit spikes, (1, -1) for signed
            ones, (1, 2, 4, -1, -2, -4) for graded ones.
        exclusive: Whether at most one plane holds an element in a step.
    """

    payloads: tuple[int, ...]
    exclusive: bool = True

    @property
    def range(self) -> Range:
        """Of every sum of some of an element's events."""
        taken = [0, *(p for p in self.payloads if p < 0)], [0, *(p for p in self.payloads if p > 0)]
        if self.exclusive:
            return Range(min(taken[0]), max(taken[1]))
        return Range(sum(taken[0]), sum(taken[1]))


@dataclass(frozen=True, slots=True)
class Numbers:
    """Integers: inputs, and currents that no neuron takes directly.

    Attributes:
        range: Of every element.
        timed: Whether they change from step to step.
    """

    range: Range
    timed: bool


@dataclass(frozen=True, slots=True)
class Value:
    """What a stage or an input hands on.

    Attributes:
        name: Of the node.
        shape: Per sample and step, channels first.
        coding: Spikes or numbers.
    """

    name: str
    shape: tuple[int, ...]
    coding: Spikes | Numbers

    @property
    def channels(self) -> int:
        """Size of the first axis; 1 for a scalar."""
        return self.shape[0] if self.shape else 1

    @property
    def space(self) -> tuple[int, ...]:
        """Sizes of the other axes, at least one."""
        return self.shape[1:] or (1,)

    @property
    def positions(self) -> int:
        """Elements of a channel."""
        return math.prod(self.space)

    @property
    def size(self) -> int:
        """Elements per step."""
        return math.prod(self.shape)

    @property
    def timed(self) -> bool:
        """Whether it changes from step to step."""
        return isinstance(self.coding, Spikes) or self.coding.timed

    @property
    def range(self) -> Range:
        """Of every element."""
        return self.coding.range


# Synapses


@dataclass(frozen=True, slots=True)
class Axis:
    """One spatial axis of a synapse: result o reads element (stride o + dilation k - pad) / up.

    A tap k counts where that is whole and inside. `up` is 1 but in transposed convolutions.
    """

    inputs: int = 1
    outputs: int = 1
    taps: int = 1
    stride: int = 1
    dilation: int = 1
    pad: int = 0
    up: int = 1

    @property
    def straight(self) -> bool:
        """Whether each result reads the element at its own place."""
        same = self.taps == self.stride == self.up == 1 and self.pad == 0
        return same and self.inputs == self.outputs


@dataclass(frozen=True, slots=True)
class Term:
    """One synapse into a layer: what it adds to the layer's sum in each step.

    Attributes:
        name: Of the node.
        source: What it reads.
        axes: Geometry of each spatial axis.
        outputs: Result channels.
        groups: Channel groups; as many as channels where each has its own (`channelwise`).
        weights: (outputs, source channels / groups, *taps); None for all ones; where `local`, one
            weight for each neuron (outputs, *space).
        local: Whether each neuron has its own weight, for one tap.
    """

    name: str
    source: Value
    axes: tuple[Axis, ...]
    outputs: int
    groups: int
    weights: Integers | None
    local: bool = False

    @property
    def inputs(self) -> int:
        """Source channels of a group."""
        return self.source.channels // self.groups

    @property
    def taps(self) -> int:
        """Taps of the window."""
        return math.prod(axis.taps for axis in self.axes)

    @property
    def channelwise(self) -> bool:
        """Whether each result channel reads only the source channel of the same number."""
        return self.groups == self.source.channels == self.outputs

    @property
    def pointwise(self) -> bool:
        """Whether each neuron reads only the source element at its own place."""
        return self.channelwise and all(axis.straight for axis in self.axes)

    @property
    def range(self) -> Range:
        """Of every sum of some of its events."""
        ends = self.source.range.hull(Range(0, 0))
        if self.weights is None:
            count = self.taps * self.inputs
            return Range(ends.low * count, ends.high * count)
        flat = self.weights.reshape(-1, 1) if self.local else self.weights
        rows = flat.reshape(len(flat), -1)
        if int(np.abs(rows).max(initial=0)) * rows.shape[1] >= 1 << 62:
            rows = rows.astype(object)  # Python's integers
        sums = np.maximum(rows, 0).sum(axis=1), np.minimum(rows, 0).sum(axis=1)
        pairs = [(int(up), int(down)) for up, down in zip(*sums, strict=True)]
        return Range(
            min([0, *(up * ends.low + down * ends.high for up, down in pairs)]),
            max([0, *(up * ends.high + down * ends.low for up, down in pairs)]),
        )


# Rules of neurons; arrays are (channels,), or (channels, *space) where neurons differ


@dataclass(frozen=True, slots=True)
class Integrate:
    """`v += I; s = 1 if v >= theta else 0; v -= theta s`, from v = v0."""

    theta: Integers
    v0: Integers


@dataclass(frozen=True, slots=True)
class IntegrateSigned:
    """As Integrate, and s = -1 where `v < theta_neg` and (free, or the net count is above 0)."""

    theta: Integers
    v0: Integers
    theta_neg: Integers
    free: bool


@dataclass(frozen=True, slots=True)
class IntegrateGraded:
    """Sends +2^k for the largest k < levels with `v >= fire 2^k`, or takes back 2^k of the net."""

    theta: Integers
    v0: Integers
    fire: Integers
    levels: int
    free: bool
    gathers: bool


@dataclass(frozen=True, slots=True)
class IntegrateWindow:
    """Adds up all T steps, then fires in T steps as Integrate; with `free` -1 where v < 0."""

    theta: Integers
    v0: Integers
    free: bool
    gathers: bool = True


@dataclass(frozen=True, slots=True)
class IntegrateInteger:
    """Sends `clip(floor(v / theta), low, high)`; unless `free` or it gathers, not below -net."""

    theta: Integers
    v0: Integers
    low: int
    high: int
    free: bool
    gathers: bool


@dataclass(frozen=True, slots=True)
class IntegrateRadix:
    """Adds up `v = 2 v + I` from 0, then v0 on its side of 0; sends digits, the highest first.

    In step t of T: `s = 1 if v >= unit`, with `free` -1 if `v <= -unit`, unit = theta 2^(T-1-t);
    `v -= unit s`.
    """

    theta: Integers
    v0: Integers
    free: bool
    gathers: bool = True
    radix: bool = True


@dataclass(frozen=True, slots=True)
class Accumulate:
    """`v += I`, or `v = 2 v + I` where digits arrive, the highest first: a readout."""

    radix: bool


@dataclass(frozen=True, slots=True)
class Store:
    """The sum itself is the value: a current that another synapse reads."""


Rule: TypeAlias = (
    "Integrate | IntegrateSigned | IntegrateGraded | IntegrateWindow | IntegrateInteger"
    " | IntegrateRadix | Accumulate | Store"
)


def gathers(rule: Rule) -> bool:
    """Whether it acts only after all T steps of its input."""
    return bool(getattr(rule, "gathers", False))


def doubles(rule: Rule) -> bool:
    """Whether the potential is doubled in each step of its input."""
    return bool(getattr(rule, "radix", False))


# Stages


@dataclass(frozen=True, slots=True)
class Layer:
    """Neurons, a readout or a stored current, and all that reaches them.

    Attributes:
        result: Spikes, or the numbers of a readout or a current.
        terms: Synapses whose sum arrives.
        bias: What is added in each step.
        rule: What the sum does.
        sum: Range of every partial sum of bias and terms.
        state: Range of the potential at every time.
        limits: Declared range, where it is not proven that none is left: to be checked.
        loc: The ONNX node that it came from.
    """

    result: Value
    terms: tuple[Term, ...]
    bias: Integers
    rule: Rule
    sum: Range
    state: Range
    limits: Range | None
    loc: str | None

    @property
    def sources(self) -> tuple[Value, ...]:
        """What it reads."""
        return tuple({t.source.name: t.source for t in self.terms}.values())


@dataclass(frozen=True, slots=True)
class Pool:
    """Max pooling of spikes: the change of the largest net sum N of a window.

    Of digits, the highest first (`radix`), N doubles with each step, and so does what is compared.

    Attributes:
        result: Spikes.
        source: Spikes.
        axes: Geometry of each spatial axis.
        state: Range of the net sums.
        radix: Whether spikes are digits.
        loc: The ONNX node that it came from.
    """

    result: Value
    source: Value
    axes: tuple[Axis, ...]
    state: Range
    radix: bool
    loc: str | None

    @property
    def sources(self) -> tuple[Value, ...]:
        """What it reads."""
        return (self.source,)


@dataclass(frozen=True, slots=True)
class Pick:
    """Where one axis of a source is read: `start + step * (i // repeat)`, or `table[i]`."""

    axis: int
    start: int = 0
    step: int = 1
    repeat: int = 1
    table: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Piece:
    """A box of the result and the part of a source that fills it.

    Attributes:
        source: What it reads.
        begins: First element of the box, per axis of the result.
        sizes: Of the box, per axis of the result.
        picks: For each axis of the source, which axis of the box it follows, and how.
    """

    source: Value
    begins: tuple[int, ...]
    sizes: tuple[int, ...]
    picks: tuple[Pick, ...]


@dataclass(frozen=True, slots=True)
class Route:
    """Elements in other places: slices, transposes, gathers, pads, concatenations, repeats.

    Attributes:
        result: Of the same coding as its sources.
        pieces: Boxes; what none of them fills is 0.
        loc: The ONNX node that it came from.
    """

    result: Value
    pieces: tuple[Piece, ...]
    loc: str | None

    @property
    def sources(self) -> tuple[Value, ...]:
        """What it reads."""
        return tuple({p.source.name: p.source for p in self.pieces}.values())

    @property
    def filled(self) -> bool:
        """Whether the pieces leave no element out."""
        return sum(math.prod(piece.sizes) for piece in self.pieces) == self.result.size


@dataclass(frozen=True, slots=True)
class Reshape:
    """The same elements, in row-major order (channels first), under another shape."""

    result: Value
    source: Value
    loc: str | None

    @property
    def sources(self) -> tuple[Value, ...]:
        """What it reads."""
        return (self.source,)


Stage: TypeAlias = "Layer | Pool | Route | Reshape"


@dataclass(frozen=True, slots=True)
class Units:
    """What the integers of an input or output stand for: `offset + scale code`, `scale v / weight`.

    Attributes:
        name: In the ONNX model.
        scale: One for all elements, for each channel or for each element.
        offset: As `scale`; 0 for outputs.
        weight: What potentials of outputs are divided by: T, or 2^T - 1 where digits add up.
    """

    name: str
    scale: tuple[float, ...]
    offset: tuple[float, ...]
    weight: int


@dataclass(frozen=True, slots=True)
class Plan:
    """An integer network as stages in the order in which they run.

    Attributes:
        name: Of the graph.
        source: File name of the model that it came from, if known.
        steps: Time steps T.
        inputs: Values from outside.
        stages: Each reads inputs and results of earlier stages.
        outputs: Results that are the network's, numbers of readouts.
        units: Of inputs and outputs.
    """

    name: str
    source: str | None
    steps: int
    inputs: tuple[Value, ...]
    stages: tuple[Stage, ...]
    outputs: tuple[str, ...]
    units: Mapping[str, Units]
