"""Integers of any width: machine integers where they fit, else Python's own."""

from __future__ import annotations

import numpy as np

from spikec.ir.types import Array

LARGEST = 1 << 62
"""Bound of sums, found in double precision, up to which int64 holds them for certain."""


def magnitude(array: Array) -> int:
    """The largest absolute value, 0 where there is none."""
    return max(int(array.max(initial=0)), -int(array.min(initial=0)))


def wide(array: Array) -> Array:
    """Machine integers as int64; floats and Python's integers as they are."""
    return array.astype(np.int64, copy=False) if array.dtype.kind in "iub" else array


def unbounded(array: Array) -> Array:
    """The same numbers as Python's integers, which hold any sum."""
    return np.asarray(array).astype(object)


def machine(array: Array) -> Array:
    """Integers that fit as int64."""
    return array.astype(np.int64, copy=False)
