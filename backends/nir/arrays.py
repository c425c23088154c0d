"""Integers as the numbers that a NIR file holds."""

from __future__ import annotations

import numpy as np

from spikec.ir.types import Array


def real(array: Array) -> Array:
    """The same numbers as float32 where that is exact, else as float64."""
    narrow = array.astype(np.float32)
    return narrow if np.array_equal(narrow, array) else array.astype(np.float64)


def sizes(*numbers: int) -> Array:
    """A shape, a stride or another tuple of sizes."""
    return np.array(numbers, np.int64)
