"""Executes the plans of few samples: images of bytes, see `rows`."""

from __future__ import annotations

import numpy as np
from numba import njit

from spikec.ir.ops.max_pool_count import MaxPoolCount
from spikec.ir.types import Array
from spikec.runtime.fast.execute import Overflow, Run, Value
from spikec.runtime.fast.images import Image
from spikec.runtime.fast.neurons import UNIT
from spikec.runtime.fast.steps import Fire, Pool
from spikec.runtime.interpreter import LayerTrace


class FewRun(Run):
    """A run whose `words` are images, and whose counts are (y, x, t, channel)."""

    def _fire(self, step: Fire) -> None:
        node, rows = step.node, step.rows
        assert rows is not None
        layer = rows.layer
        images = {name: self._words(name) for name, _ in rows.names}
        shape = (layer.height, layer.width, layer.steps, layer.padded)
        if step.spec is None:
            sums = np.empty((self.samples, *shape[:2], layer.steps_in, layer.padded), np.int32)
            rows.run(images, sums, 0)
            dense = sums.transpose(3, 0, 4, 1, 2)[:, :, : node.type.shape[0]]
            dense = np.broadcast_to(dense, (layer.steps, *dense.shape[1:]))
            self.values[node.name] = Value(
                np.array(dense).reshape(*dense.shape[:2], *node.type.shape)
            )
            return
        image = self.plan.images[node.name]
        out, counts = self._zeros(image), self._counts(shape)
        units = self._counts(shape) if layer.rule != UNIT else counts
        kept = np.empty((self.samples, *shape) if node.name in self.trace else 0, np.int32)
        addresses = {
            "counts": counts.ctypes.data,
            "units": units.ctypes.data,
            "kept": kept.ctypes.data if kept.size else 0,
        }
        if rows.run(images, out, image.start(), **addresses):
            raise Overflow(node.name)
        self.values[node.name] = Value(words=out, counts=counts, units=units)
        if kept.size:
            spikes = self._dense(node.name).astype(node.type.dtype.storage, copy=False)
            own = kept.transpose(3, 0, 4, 1, 2)[:, :, : image.channels].reshape(spikes.shape)
            self.result.traces[node.name] = LayerTrace(spikes, np.array(own))

    def _pool(self, step: Pool) -> None:
        node, images = step.node, self.plan.images
        if node.name in self.trace:
            self._simple(step)
            return
        below, image = images[step.below], images[node.name]
        words, out = self._words(step.below), self._zeros(image)
        shape = (*image.space, image.steps, image.padded)
        counts, units = self._counts(shape), self._counts(shape)
        corner = np.array(below.border[:2], np.int64), np.array(below.space, np.int64)
        where = out, np.array(image.border[:2], np.int64)
        if isinstance(node.operation, MaxPoolCount):
            doubles = int(node.operation.radix)
            _max_pool(words, *corner, below.zero, doubles, step.window, *where, counts, units)
        else:
            _sum_pool(words, corner[0], below.zero, image.zero, step.window, *where, counts)
        self.values[node.name] = Value(words=out, counts=counts, units=units)

    def _zeros(self, image: Image) -> Array:
        out = self.arena.take(image.shape(self.samples), image.dtype)
        out.fill(image.zero)
        return out

    def _counts(self, shape: tuple[int, ...]) -> Array:
        return np.zeros(shape, np.uint8)

    def _unpacked(self, name: str, words: Array) -> Array:
        return self.plan.images[name].unpack(words)

    def _packed(self, name: str, values: Array) -> Array:
        image = self.plan.images[name]
        out = self._zeros(image)
        image.pack(values, out)
        return out

    def _summed(self, name: str, counts: Array) -> Array:
        shape = self.plan.graph[name].type.shape
        own = counts.transpose(2, 3, 0, 1)[:, : shape[0]]
        return own.reshape(len(own), *shape)


@njit(cache=True, nogil=True)
def _sum_pool(
    words: Array,
    corner: Array,
    zero_in: int,
    zero: int,
    window: Array,
    out: Array,
    out_corner: Array,
    counts: Array,
) -> None:
    """Sums over windows (sample, y, x, t, channel); the border counts as zeros.

    Args:
        words: The image of what is pooled.
        corner: Pixels of its border above and on the left.
        zero_in: Its zero point.
        zero: That of the result.
        window: kernel, strides, pads (above, left), dilations: int64[8].
        out: The image of the result.
        out_corner: As `corner`.
        counts: Result (y, x, t, channel): how many samples differ from zero.
    """
    height, width, steps, channels = counts.shape
    for n in range(len(out)):
        for y in range(height):
            for x in range(width):
                total = out[n, out_corner[0] + y, out_corner[1] + x]
                total[:] = zero
                for ky in range(window[0]):
                    for kx in range(window[1]):
                        iy = corner[0] + y * window[2] + ky * window[6] - window[4]
                        ix = corner[1] + x * window[3] + kx * window[7] - window[5]
                        tap = words[n, iy, ix]
                        for t in range(steps):
                            for c in range(channels):
                                total[t, c] += tap[t, c] - zero_in
                for t in range(steps):
                    for c in range(channels):
                        counts[y, x, t, c] += total[t, c] != zero


@njit(cache=True, nogil=True)
def _max_pool(
    words: Array,
    corner: Array,
    space: Array,
    zero: int,
    doubles: int,
    window: Array,
    out: Array,
    out_corner: Array,
    counts: Array,
    units: Array,
) -> None:
    """Spikes whose running counts are the maxima of those of windows.

    Args:
        words: The image of what is pooled.
        corner: Pixels of its border above and on the left.
        space: Its height and width.
        zero: Zero point of both.
        doubles: 1 where counts double from step to step, else 0.
        window: As for `_sum_pool`.
        out: The image of the result.
        out_corner: As `corner`.
        counts: Result (y, x, t, channel): how many samples sent anything.
        units: As counts, of 1 and -1.
    """
    height, width, steps, channels = counts.shape
    best = np.empty((steps, channels), np.int32)
    run = np.empty(channels, np.int32)
    for n in range(len(out)):
        for y in range(height):
            for x in range(width):
                result = out[n, out_corner[0] + y, out_corner[1] + x]
                best[:] = -(1 << 30)
                for ky in range(window[0]):
                    for kx in range(window[1]):
                        iy = y * window[2] + ky * window[6] - window[4]
                        ix = x * window[3] + kx * window[7] - window[5]
                        if not (0 <= iy < space[0] and 0 <= ix < space[1]):
                            continue
                        tap = words[n, corner[0] + iy, corner[1] + ix]
                        run[:] = 0
                        for t in range(steps):
                            for c in range(channels):
                                run[c] = (run[c] << doubles) + np.int32(tap[t, c]) - zero
                                best[t, c] = max(best[t, c], run[c])
                run[:] = 0
                for t in range(steps):
                    for c in range(channels):
                        spike = best[t, c] - (run[c] << doubles)
                        run[c] = best[t, c]
                        result[t, c] = spike + zero
                        counts[y, x, t, c] += spike != 0
                        units[y, x, t, c] += abs(spike) == 1
