"""What all printers of one C file share: names, memory, constants and where a layer stands."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from spikec.backends.c.layout import BYTE, CType, NumberLayout, SpikeLayout, ctype
from spikec.backends.c.memory import Memory
from spikec.backends.c.packing import pack
from spikec.backends.c.schedule import Schedule
from spikec.backends.c.writer import Names, add, flat, mul, number
from spikec.backends.lowering.records import Integers, Plan, Range, Stage, Term, Value

LONGEST = 64
"""Channels of a block, at most, where a divisor allows it; and bits of a long word."""


@dataclass(frozen=True, slots=True)
class Constant:
    """An array of weights.c.

    Attributes:
        type: Of its elements.
        values: They.
        comment: What they are.
        row: Weights of a row that is added up as it lies; 0 where there are no rows.
        bits: Of a weight, where some share a byte; 0 where none do.
        scale: What weights that share bytes are multiplied by: an identifier of a row of factors
            for each block, or empty for 1.
    """

    type: CType
    values: Integers
    comment: str
    row: int = 0
    bits: int = 0
    scale: str = ""

    @property
    def declared(self) -> str:
        """The name of its type; rows of bytes that are added up may be wider."""
        return "network_weight" if self.row and self.type == CType(8) else str(self.type)

    @property
    def stride(self) -> int:
        """Elements of a row."""
        return -(-self.row * self.bits // 8) if self.bits else self.row


@dataclass(slots=True)
class Network:
    """One C file being printed.

    Attributes:
        plan: What it computes.
        schedule: How many steps at a time.
        memory: Where values lie.
        names: Identifiers.
        lanes: Neurons that are summed at once.
        packed: Whether weights of few bits share bytes.
        constants: Arrays of weights.c by identifier.
        states: What is kept between calls, by identifier: type and elements.
    """

    plan: Plan
    schedule: Schedule
    memory: Memory
    names: Names
    lanes: int
    packed: bool
    constants: dict[str, Constant]
    states: dict[str, tuple[CType, int]] = field(default_factory=dict)

    @property
    def steps(self) -> int:
        """Steps that the stage computes at a time."""
        return self.schedule.steps

    @property
    def step(self) -> str:
        """The loop variable of steps, or 0 where there is one."""
        return self.schedule.step

    def number(self, stage: Stage) -> int:
        """The number of a stage, from 1."""
        return 1 + self.plan.stages.index(stage)

    def layout(self, value: Value) -> SpikeLayout | NumberLayout:
        """How a value lies."""
        return self.memory.layouts[value.name]

    def pointer(self, value: Value) -> str:
        """Where a value begins."""
        return self.place(self.memory.roots[value.name])

    def place(self, name: str) -> str:
        """The identifier of a value's memory: of a readout another than that of its result."""
        return self.names[f"{name}.steps" if name in self.plan.outputs else name]

    def external(self, value: Value) -> Value | None:
        """The input whose memory a value is, if it is one's."""
        root = self.memory.roots[value.name]
        return next((given for given in self.plan.inputs if given.name == root), None)

    def constant(self, name: str, values: Integers, comment: str) -> str:
        """The identifier of an array of weights.c."""
        identifier = self.names[name]
        if identifier not in self.constants:
            type_ = ctype(Range.of(values))
            self.constants[identifier] = Constant(type_, values.reshape(-1), comment)
        return identifier

    def rows(self, name: str, values: Integers, comment: str) -> str:
        """The identifier of weights (block, row, neuron) whose rows are added up as they lie."""
        identifier = self.names[name]
        if identifier not in self.constants:
            row, type_ = values.shape[-1], ctype(Range.of(values))
            constant = Constant(type_, values.reshape(-1), comment, row)
            if self.packed and (packed := pack(values)) is not None:
                comment += f"; {8 // packed.bits} in a byte, {len(packed.rows[0])} places apart"
                scale = ""
                if (packed.factors != 1).any():
                    about = f"what {identifier} is multiplied by: block, neuron"
                    scale = self.constant(f"{name}.scale", packed.factors, about)
                constant = Constant(BYTE, packed.rows.reshape(-1), comment, row, packed.bits, scale)
            self.constants[identifier] = constant
        return identifier


@dataclass(frozen=True, slots=True)
class Stretch:
    """A part of a row of results whose sums are kept at once, all steps of it.

    Attributes:
        terms: The synapses that are added to it, spike by spike.
        length: Places, a divisor of the size of the last axis.
        before: Places before it, which spikes at its begin reach too.
        behind: Places behind it.
    """

    terms: tuple[Term, ...]
    length: int
    before: int
    behind: int

    @property
    def places(self) -> int:
        """Places that sums are kept of."""
        return self.before + self.length + self.behind


@dataclass(frozen=True, slots=True)
class Lanes:
    """The neurons that a layer's innermost loops compute at once.

    Attributes:
        result: What the layer makes.
        pixels: Neighbours along the last axis, a divisor of its size.
        block: Channels, a divisor of their number; all of them where there is more than one pixel.
        stretch: Part of a row whose sums are kept together; None where nothing slides.
    """

    result: Value
    pixels: int
    block: int
    stretch: Stretch | None = None

    @property
    def begin(self) -> str:
        """Where the stretch begins."""
        whole = self.stretch is None or self.stretch.length == self.result.space[-1]
        return "0" if whole else "x0"

    @property
    def count(self) -> int:
        """Neurons."""
        return self.pixels * self.block

    @property
    def blocks(self) -> int:
        """Blocks of channels."""
        return self.result.channels // self.block

    @property
    def places(self) -> list[str]:
        """The loop variable of each spatial axis, or 0 where it has one place."""
        rank = len(self.result.space)
        variables = ["pz", "py", "px"][-rank:] if rank < 4 else [f"p{n}" for n in range(rank)]
        return [
            "0" if size == 1 else name
            for name, size in zip(variables, self.result.space, strict=True)
        ]

    @property
    def place(self) -> str:
        """The number of the first pixel's place."""
        return flat(self.places, self.result.space)

    @property
    def first(self) -> str:
        """The first channel of the block."""
        return "first" if self.blocks > 1 else "0"

    @property
    def lane(self) -> str:
        """The lane of neuron o of pixel p."""
        return add(mul("p", self.block), "o") if self.pixels > 1 else "o"

    @property
    def channel(self) -> str:
        """The channel of neuron o of a pixel."""
        return add("o", self.first)

    @property
    def neuron(self) -> str:
        """The number of lane o's neuron, by place and channel."""
        return add(mul(self.place, self.result.channels), self.first, "o")

    @property
    def number(self) -> str:
        """The number of neuron o of pixel p, in row-major order."""
        place = add(self.place, "p") if self.pixels > 1 else self.place
        return add(mul(self.channel, self.result.positions), place)

    def tiled(self, values: Integers) -> Integers:
        """Values (..., channels), those of a pixel once for each pixel."""
        return np.tile(values, self.pixels)


def element(network: Network, lanes: Lanes, name: str, values: Integers, comment: str) -> str:
    """The expression of the constant of lane o's neuron: a number where all are equal."""
    if (values == values.flat[0]).all():
        return number(int(values.flat[0]))
    if values.ndim == 1:
        return f"{network.constant(name, lanes.tiled(values), comment)}[{lanes.channel}]"
    by_place = np.moveaxis(values.reshape(values.shape[0], -1), 0, -1)
    return f"{network.constant(name, by_place, comment)}[{lanes.neuron}]"


def largest_divisor(count: int) -> int:
    """The largest divisor of a number of channels up to `LONGEST`."""
    return max(n for n in range(1, min(count, LONGEST) + 1) if count % n == 0)
