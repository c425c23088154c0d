"""Element and tensor types. Batch and time are never part of a shape."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spikec.ir.errors import ParseError

Array = NDArray[Any]
_DTYPE = re.compile(r"(f|i|u)([1-9][0-9]?)|spike([2-8]?)|(ispike|uspike)([1-9])")


@dataclass(frozen=True, slots=True)
class DType:
    """An element type: `f32`, `f64`, `iN`, `uN` (N = 1..64 bits), or spikes.

    `spike` is a unit event in {-1, 0, +1}. `spikeN` (N = 2..8) is a graded event whose payload is
    at most 2^(N-1): neurons send 0, +-1, +-2, +-4, ... +-2^(N-1). `ispikeN` and `uspikeN`
    (N = 1..9) are graded events whose payload is any signed or unsigned integer of N bits.
    """

    kind: str
    bits: int

    @staticmethod
    def parse(text: str) -> DType:
        """Read a type name such as `i24`; raises ParseError."""
        match = _DTYPE.fullmatch(text)
        if match is None:
            hint = "f32, f64, iN, uN, spike, spikeN, ispikeN or uspikeN"
            raise ParseError(f"unknown element type '{text}'", hint=hint)
        if match[4]:
            return DType(match[4], int(match[5]))
        if text.startswith("spike"):
            return spikes(int(match[3] or 1))
        kind, bits = match[1], int(match[2])
        if bits > 64 or (kind == "f" and bits not in (32, 64)):
            raise ParseError(f"element type '{text}' has an unsupported width")
        return DType(kind, bits)

    def __str__(self) -> str:
        if self.kind == "spike":
            return f"spike{self.levels}" if self.is_graded else "spike"
        return f"{self.kind}{self.bits}"

    @property
    def is_integer(self) -> bool:
        """Whether values are integers (spikes included)."""
        return self.kind != "f"

    @property
    def is_spike(self) -> bool:
        """Whether this is an event that a neuron sends."""
        return self.kind.endswith("spike")

    @property
    def levels(self) -> int:
        """Number of positive payloads of a `spike` (1) or `spikeN` (N)."""
        return self.bits - 1

    @property
    def is_graded(self) -> bool:
        """Whether this is a spike that carries a payload."""
        return self.is_spike and self.bits > (2 if self.kind == "spike" else 1)

    @property
    def payload_bits(self) -> int:
        """Bits of a spike that are its payload and sign, beside the event itself."""
        if self.kind == "spike":
            return 1 + (self.levels - 1).bit_length()
        return self.bits

    @property
    def bounds(self) -> tuple[int, int]:
        """Smallest and largest integer of this type."""
        if self.kind in ("u", "uspike"):
            return 0, (1 << self.bits) - 1
        if self.kind == "spike":
            return -(1 << (self.bits - 2)), 1 << (self.bits - 2)
        return -(1 << (self.bits - 1)), (1 << (self.bits - 1)) - 1

    @property
    def storage(self) -> np.dtype[np.generic]:
        """The smallest NumPy type that holds this type."""
        if self.kind == "f":
            return np.dtype(f"f{self.bits // 8}")
        width = next(w for w in (8, 16, 32, 64) if w >= self.bits)
        return np.dtype(f"{self.kind[0] if self.kind != 'spike' else 'i'}{width // 8}")


F32 = DType("f", 32)
F64 = DType("f", 64)
SPIKE = DType("spike", 2)


def spikes(levels: int) -> DType:
    """Spikes with payloads up to 2^(levels - 1); unit events for `levels` = 1."""
    return DType("spike", levels + 1)


def payloads(bits: int, *, signed: bool) -> DType:
    """Spikes whose payload is any integer of `bits` bits."""
    return DType("ispike" if signed else "uspike", bits)


def signed(bits: int) -> DType:
    """The signed integer type of `bits` bits."""
    return DType("i", bits)


def unsigned(bits: int) -> DType:
    """The unsigned integer type of `bits` bits."""
    return DType("u", bits)


@dataclass(frozen=True, slots=True)
class TensorType:
    """An element type and a shape per sample and step."""

    dtype: DType
    shape: tuple[int, ...]

    def __str__(self) -> str:
        return f"{self.dtype}[{','.join(map(str, self.shape))}]"

    @property
    def size(self) -> int:
        """Number of elements."""
        return math.prod(self.shape)

    def with_dtype(self, dtype: DType) -> TensorType:
        """The same shape with another element type."""
        return TensorType(dtype, self.shape)


@dataclass(frozen=True, slots=True)
class Param:
    """A named read-only array: weights, thresholds, initial potentials, statistics.

    Two params are equal when their types are: the text of a graph carries types and may leave
    values to `weights.npz`. `array` is None for a graph that was parsed without values.
    """

    type: TensorType
    array: Array | None = field(default=None, compare=False, repr=False)

    @staticmethod
    def of(array: Array | float, dtype: DType = F32) -> Param:
        """Wrap an array (copied and made read-only), stored in `dtype`'s NumPy type."""
        stored = np.array(array, dtype=dtype.storage, order="C")
        stored.setflags(write=False)
        return Param(TensorType(dtype, stored.shape), stored)


def spread(array: Array, shape: tuple[int, ...]) -> Array:
    """View a per-channel (C,), per-tensor () or per-neuron array so that it broadcasts to `shape`.

    A 1-D array runs along axis 0 of `shape`, as thresholds and biases do.
    """
    if array.ndim == 1 and len(shape) > 1:
        return array.reshape((-1,) + (1,) * (len(shape) - 1))
    return array
