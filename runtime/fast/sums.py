"""Sums of one channel pair of one pixel over any number of time steps."""

from __future__ import annotations

from numba import njit

from spikec.runtime.fast.tiles import SEGMENT, dot1, dot2, dot4, lut1, lut2, lut4, lut8
from spikec.runtime.fast.vector import shift_all


@njit(cache=True, nogil=True)
def sum_lut(acc: int, stride: int, segs: int, count: int, pair: int, steps: int) -> None:
    """Sum one channel pair of one pixel over all time steps from lookup tables."""
    t = 0
    while t < steps:
        left, at = steps - t, acc + 64 * t
        if left >= 8:
            lut8(at, stride, segs, 0, count, pair, stride)
            done = 8
        elif left >= 4:
            lut4(at, stride, segs, 0, count, pair, stride)
            done = 4
        elif left >= 2:
            lut2(at, stride, segs, 0, count, pair, stride)
            done = 2
        else:
            lut1(at, stride, segs, 0, count, pair, stride)
            done = 1
        t += done
        if t < steps:
            shift_all(segs, 8 * SEGMENT, count, 64 * done)
        elif t > done:
            shift_all(segs, 8 * SEGMENT, count, 64 * (done - t))


@njit(cache=True, nogil=True)
def sum_dot(acc: int, stride: int, segs: int, count: int, pair: int, steps: int) -> None:
    """Sum one channel pair of one pixel over all time steps by dot products."""
    t = 0
    while t < steps:
        left, at = steps - t, acc + 128 * t
        if left >= 4:
            dot4(at, stride, segs, 0, count, pair, stride)
            done = 4
        elif left >= 2:
            dot2(at, stride, segs, 0, count, pair, stride)
            done = 2
        else:
            dot1(at, stride, segs, 0, count, pair, stride)
            done = 1
        t += done
        if t < steps:
            shift_all(segs, 8 * SEGMENT, count, 128 * done)
        elif t > done:
            shift_all(segs, 8 * SEGMENT, count, 128 * (done - t))
