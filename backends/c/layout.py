"""How values lie in memory, and which C types hold them."""

from __future__ import annotations

import math
from dataclasses import dataclass

from spikec.backends.lowering.records import Numbers, Range, Spikes, Value


@dataclass(frozen=True, slots=True)
class CType:
    """An exact-width integer type."""

    bits: int
    signed: bool = True

    def __str__(self) -> str:
        return f"{'' if self.signed else 'u'}int{self.bits}_t"

    @property
    def size(self) -> int:
        """In bytes."""
        return self.bits // 8


BYTE = CType(8, signed=False)


def ctype(held: Range, least: int = 8) -> CType:
    """The narrowest type of at least `least` bits that holds a range."""
    if held.low >= 0 and least == 8 and held.high < 256:
        return CType(8, signed=held.high < 128)
    return CType(next(bits for bits in (8, 16, 32, 64) if bits >= max(held.bits, least)))


def input_type(held: Range) -> CType:
    """The type of the codes of an input."""
    signed = held.low < 0
    wanted = held.bits if signed else held.high.bit_length()
    return CType(next(bits for bits in (8, 16, 32, 64) if bits >= wanted), signed)


@dataclass(frozen=True, slots=True)
class SpikeLayout:
    """Spikes as bits: for each row of the map, plane and step, a string of bits (x, channel).

    A row is all that lies at one place of the outer spatial axes; so a window that slides along
    the last axis reads neighbouring bits.

    Attributes:
        channels: Of the value.
        rows: Places of the outer axes.
        width: Size of the last axis.
        planes: One for each payload.
        steps: Time steps that are held.
    """

    channels: int
    rows: int
    width: int
    planes: int
    steps: int

    @staticmethod
    def of(value: Value, steps: int) -> SpikeLayout:
        """The layout of a value."""
        assert isinstance(value.coding, Spikes)
        *outer, width = value.space
        planes = len(value.coding.payloads)
        return SpikeLayout(value.channels, math.prod(outer), width, planes, steps)

    @property
    def row_bytes(self) -> int:
        """Bytes of one string of bits."""
        return -(-self.width * self.channels // 8)

    @property
    def size(self) -> int:
        """Bytes of the value."""
        return self.rows * self.planes * self.steps * self.row_bytes


@dataclass(frozen=True, slots=True)
class NumberLayout:
    """Numbers in row-major order: step (where they are timed), channel, place.

    Attributes:
        type: Of an element.
        positions: Elements of a channel.
        elements: Per step.
        steps: Time steps that are held; 1 where they are constant.
    """

    type: CType
    positions: int
    elements: int
    steps: int

    @staticmethod
    def of(value: Value, steps: int, type_: CType | None = None) -> NumberLayout:
        """The layout of a value."""
        assert isinstance(value.coding, Numbers)
        held = steps if value.coding.timed else 1
        return NumberLayout(type_ or ctype(value.range), value.positions, value.size, held)

    @property
    def size(self) -> int:
        """Elements in all steps."""
        return self.steps * self.elements
