"""Weights of few bits that share bytes."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from spikec.backends.lowering.records import Integers

WIDTHS = (2, 4)
"""Bits of weights that share a byte."""


@dataclass(frozen=True, slots=True)
class Packed:
    """Rows of weights.

    Byte i of a row of s bytes holds weight i in its lowest bits, weight i + s in those above them
    and so on: all that lies in the same bits is side by side in the sums. They lie there as
    differences from the lowest number of so many bits.

    Attributes:
        bits: Of a weight.
        rows: Bytes (row, byte).
        factors: What weights are multiplied by: powers of two (block, neuron).
    """

    bits: int
    rows: Integers
    factors: Integers


def pack(weights: Integers) -> Packed | None:
    """Weights (block, row, neuron), packed where at least two of them fit a byte.

    What all weights of a neuron have as a common power of two, as its weight exponent gives it,
    becomes a factor.
    """
    blocks, _, length = weights.shape
    together = np.bitwise_or.reduce(weights, axis=1)
    factors = np.where(together == 0, 1, together & -together)  # the lowest bit that any has
    mantissas = weights // factors[:, None]
    low, high = int(mantissas.min()), int(mantissas.max())
    bits = next((bits for bits in WIDTHS if -(1 << bits - 1) <= low <= high < 1 << bits - 1), None)
    if bits is None or length == 1:
        return None
    parts = 8 // bits
    size = -(-length // parts)
    fields = mantissas.reshape(-1, length) + (1 << bits - 1)
    padded = np.pad(fields, ((0, 0), (0, parts * size - length)))
    shifted = padded.reshape(-1, parts, size) << bits * np.arange(parts)[:, None]
    rows = np.bitwise_or.reduce(shifted, axis=1)
    return Packed(bits, rows, factors.reshape(blocks, length))
