"""Sums of the channel pairs of one pixel over any number of time steps."""

from __future__ import annotations

from numba import njit

from spikec.runtime.fast.machine import call7
from spikec.runtime.fast.tiles import SEGMENT
from spikec.runtime.fast.vector import get64, shift_all


@njit(cache=True, nogil=True, inline="always")
def sum_pairs(
    kernels: int, lookups: bool, acc: int, segs: int, count: int, pairs: int, steps: int
) -> None:
    """Sum channel pairs over all time steps by lookups or dot products.

    Args:
        kernels: From `tile_kernels`.
        lookups: Whether sums have 16 bits.
        acc: Accumulators (pair, channel, step).
        segs: Segments.
        count: How many.
        pairs: Channel pairs.
        steps: Time steps.
    """
    unit, most = (64, 3) if lookups else (128, 2)
    stride = unit * steps
    for pair in range(pairs):
        t = 0
        while t < steps:
            level = most
            while 1 << level > steps - t:
                level -= 1
            size = 1 << level
            code = get64(kernels + 8 * level)
            call7(code, acc + unit * t, stride, segs, 0, count, pair, stride)
            t += size
            if t < steps:
                shift_all(segs, 8 * SEGMENT, count, unit * size)
            elif t > size:
                shift_all(segs, 8 * SEGMENT, count, unit * (size - t))
