"""Values as streams of elements: pixel by pixel, channels together, all steps at once."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from spikec.backends.lowering.records import Integers, Spikes, Value
from spikec.ir.types import Array


@dataclass(frozen=True, slots=True)
class Stream:
    """How an element of a value looks.

    Attributes:
        steps: Numbers in an element: T, or 1 where they do not change.
        bits: Of a number.
        signed: Whether numbers are two's complement.
        powers: Whether they are 0 or powers of two of either sign.
    """

    steps: int
    bits: int
    signed: bool
    powers: bool

    @property
    def element(self) -> int:
        """Bits of an element; the first step lowest."""
        return self.steps * self.bits

    def joined(self, other: Stream) -> Stream:
        """A stream that holds the numbers of both."""
        if self == other:
            return self
        signed = self.signed or other.signed
        bits = max(s.bits + (signed and not s.signed) for s in (self, other))
        return Stream(max(self.steps, other.steps), bits, signed, self.powers and other.powers)


def stream_of(value: Value, steps: int) -> Stream:
    """The stream of a value in a network of some steps."""
    low, high = value.range.low, value.range.high
    signed = low < 0
    bits = value.range.bits if signed else max(1, high.bit_length())
    powers = isinstance(value.coding, Spikes) and value.coding.exclusive
    powers = powers or (low >= -1 and high <= 1)
    return Stream(steps if value.timed else 1, bits, signed, powers)


def in_order(values: Array, shape: tuple[int, ...]) -> Array:
    """Values (..., *shape), channels first, in the order of a stream (..., elements)."""
    lead = values.shape[: values.ndim - len(shape)]
    channels = shape[0] if shape else 1
    by_channel = values.reshape(*lead, channels, -1)
    return by_channel.swapaxes(-1, -2).reshape(*lead, -1)


def channels_first(values: Array, shape: tuple[int, ...]) -> Array:
    """The inverse of `in_order`: (..., elements) as (..., *shape)."""
    lead = values.shape[:-1]
    channels = shape[0] if shape else 1
    by_place = values.reshape(*lead, -1, channels)
    return by_place.swapaxes(-1, -2).reshape(*lead, *shape)


def per_element(values: Integers, shape: tuple[int, ...]) -> Integers:
    """Constants of neurons, (channels,) or (*shape), in the order of a stream.

    Those per channel are as many as channels, others as many as elements.
    """
    if values.ndim <= 1:
        return values.reshape(-1)
    return np.asarray(in_order(values, shape))


def width(low: int, high: int) -> int:
    """Bits of the smallest signed integer that holds both."""
    return max(high, -low - 1, 0).bit_length() + 1


def hex_words(fields: Array, bits: int) -> str:
    """Rows of fields as words of a memory, the first field lowest, one word a line.

    Args:
        fields: Integers (words, fields); negative ones as two's complement.
        bits: Of a field.
    """
    mask, digits = (1 << bits) - 1, -(-bits * fields.shape[1] // 4)
    lines = []
    for row in fields.tolist():
        word = 0
        for number in reversed(row):
            word = word << bits | (number & mask)
        lines.append(f"{word:0{digits}x}\n")
    return "".join(lines)
