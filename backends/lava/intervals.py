"""Worst-case ranges of currents, so that no sum in Lava can wrap."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from spikec.backends.lava.calls import Interval
from spikec.ir.types import Array


def through(weights: Array, interval: Interval) -> Interval:
    """Range of `weights @ x` for x in an interval that holds 0.

    Args:
        weights: (out, in); a row may also stand for a convolution's output channel.
        interval: Range of every element of x.
    """
    wide = weights.astype(np.int64)
    return through_sums(wide.clip(min=0).sum(axis=1), -wide.clip(max=0).sum(axis=1), interval)


def through_sums(
    positive: NDArray[np.int64], negative: NDArray[np.int64], interval: Interval
) -> Interval:
    """As `through`, from each row's sum of positive and of negated negative weights."""
    low, high = interval
    return (
        min(0, int((positive * low - negative * high).min(initial=0))),
        max(0, int((positive * high - negative * low).max(initial=0))),
    )


def total(*intervals: Interval) -> Interval:
    """Range of a sum."""
    return sum(low for low, _ in intervals), sum(high for _, high in intervals)


def of_values(array: Array) -> Interval:
    """Range of given values, and 0."""
    return min(0, int(array.min(initial=0))), max(0, int(array.max(initial=0)))


def within(interval: Interval, bounds: Interval) -> bool:
    """Whether a range stays inside another."""
    return bounds[0] <= interval[0] and interval[1] <= bounds[1]
