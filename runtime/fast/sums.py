"""Sums of one channel pair of one pixel over any number of time steps."""

from __future__ import annotations

from numba import njit

from spikec.runtime.fast.tiles import (
    DOT,
    LUT,
    SEGMENT,
    dot1,
    dot2,
    dot4,
    lut1,
    lut2,
    lut4,
    lut8,
    wide1,
    wide2,
    wide4,
)
from spikec.runtime.fast.vector import shift_all


@njit(cache=True, nogil=True)
def sum_pair(kind: int, acc: int, segs: int, count: int, pair: int, steps: int) -> None:
    """Sum one channel pair of one pixel over all time steps by lookups or dot products."""
    unit, most = (64, 8) if kind == LUT else (128, 4)
    t = 0
    while t < steps:
        size = most
        while size > steps - t:
            size //= 2
        _add_tile(kind, size, acc + unit * t, unit * steps, segs, count, pair)
        t += size
        if t < steps:
            shift_all(segs, 8 * SEGMENT, count, unit * size)
        elif t > size:
            shift_all(segs, 8 * SEGMENT, count, unit * (size - t))


@njit(cache=True, nogil=True)
def _add_tile(
    kind: int, size: int, acc: int, stride: int, segs: int, count: int, pair: int
) -> None:
    """Add segments into the accumulators of one register tile: a pair, `size` steps."""
    if kind == LUT:
        if size == 8:
            lut8(acc, stride, segs, 0, count, pair, stride)
        elif size == 4:
            lut4(acc, stride, segs, 0, count, pair, stride)
        elif size == 2:
            lut2(acc, stride, segs, 0, count, pair, stride)
        else:
            lut1(acc, stride, segs, 0, count, pair, stride)
    elif kind == DOT:
        if size == 4:
            dot4(acc, stride, segs, 0, count, pair, stride)
        elif size == 2:
            dot2(acc, stride, segs, 0, count, pair, stride)
        else:
            dot1(acc, stride, segs, 0, count, pair, stride)
    elif size == 4:
        wide4(acc, stride, segs, 0, count, pair, stride)
    elif size == 2:
        wide2(acc, stride, segs, 0, count, pair, stride)
    else:
        wide1(acc, stride, segs, 0, count, pair, stride)
