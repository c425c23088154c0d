"""Sliding windows over the spatial axes: geometry and kernels shared by convolution and pooling."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from contextvars import ContextVar
from dataclasses import dataclass
from functools import reduce
from typing import Annotated, TypeAlias, cast

import numpy as np

from spikec.ir.exact import magnitude, unbounded, wide
from spikec.ir.op import Op, Value, expect
from spikec.ir.types import TensorType

Strides: TypeAlias = Annotated[tuple[int, ...], "step of the window, per spatial axis"]
Pads: TypeAlias = Annotated[tuple[int, ...], "zeros added: first all begins, then all ends"]
Dilations: TypeAlias = Annotated[tuple[int, ...], "distance of taps, per spatial axis"]

WIDEST = 1 << 31
"""What sizes, strides, pads and dilations stay below: engines keep them in machine integers."""
_BLOCK = 1 << 22
"""Elements of an unfolded input that are held at once."""

Convolution = Callable[[Value, Value, "Window", int], Value]
FLOAT_CONVOLUTION: ContextVar[Convolution | None] = ContextVar("FLOAT_CONVOLUTION", default=None)
"""Computes float32 convolutions of at most three spatial axes where it is set; see `convolve`."""


@dataclass(frozen=True, slots=True)
class Window:
    """Where a window of `kernel` taps stands: strides, pads (begins, then ends) and dilations.

    Raises:
        InvalidGraph: for a wrong rank or sign.
    """

    kernel: tuple[int, ...]
    strides: tuple[int, ...]
    pads: tuple[int, ...]
    dilations: tuple[int, ...]

    def __post_init__(self) -> None:
        rank = len(self.kernel)
        ranks_fit = len(self.strides) == len(self.dilations) == rank and len(self.pads) == 2 * rank
        expect(ranks_fit, f"strides, pads and dilations must fit a window of rank {rank}")
        sizes = (*self.kernel, *self.strides, *self.dilations)
        expect(min(sizes, default=1) > 0, "window sizes must be positive")
        expect(min(self.pads, default=0) >= 0, "pads must not be negative")
        largest = max((*sizes, *self.pads), default=0)
        expect(largest < WIDEST, f"window sizes must be below 2^31, not {largest}")

    def output(self, spatial: Sequence[int]) -> tuple[int, ...]:
        """Spatial shape of the result; raises InvalidGraph when the window does not fit."""
        rank = len(self.kernel)
        expect(len(spatial) == rank, f"a window of rank {rank} needs {rank} spatial axes")
        out = tuple(
            (size + self.pads[i] + self.pads[i + rank] - d * (k - 1) - 1) // s + 1
            for i, (size, k, s, d) in enumerate(
                zip(spatial, self.kernel, self.strides, self.dilations, strict=True)
            )
        )
        expect(min(out, default=1) > 0, f"window {list(self.kernel)} exceeds {list(spatial)}")
        padded = math.prod(
            size + self.pads[i] + self.pads[i + rank] for i, size in enumerate(spatial)
        )
        expect(padded < WIDEST, f"{padded} places with their pads, not below 2^31")
        return out

    def meets(self, spatial: Sequence[int]) -> bool:
        """Whether at every place some tap lies inside the map, not in its pads."""
        axes = zip(spatial, self.kernel, self.strides, self.pads, self.dilations, strict=False)
        return all(
            any(0 <= s * i + d * k - pad < size for k in range(kernel))
            for (size, kernel, s, pad, d), places in zip(axes, self.output(spatial), strict=True)
            for i in range(places)
        )

    def padded(self, x: Value, fill: float = 0) -> Value:
        """`x` (batch, channels, *spatial) with its pads."""
        rank = len(self.kernel)
        if not any(self.pads):
            return x
        sizes = list(zip(x.shape[2:], self.pads[:rank], self.pads[rank:], strict=True))
        out = np.full((*x.shape[:2], *(sum(parts) for parts in sizes)), fill, x.dtype)
        inside = tuple(slice(begin, begin + size) for size, begin, _ in sizes)
        out[(slice(None), slice(None), *inside)] = x
        return out

    def taps(self, x: Value, fill: float = 0) -> list[Value]:
        """For each tap of the kernel (row-major), the view of `x` that it meets."""
        return self.unpadded_taps(self.padded(x, fill))

    def unpadded_taps(self, padded: Value) -> list[Value]:
        """The taps of a value that has its pads."""
        rank = len(self.kernel)
        out = Window(self.kernel, self.strides, (0,) * (2 * rank), self.dilations).output(
            padded.shape[2:]
        )
        views = []
        for tap in np.ndindex(*self.kernel):
            index = tuple(
                slice(t * d, t * d + s * (o - 1) + 1, s)
                for t, d, s, o in zip(tap, self.dilations, self.strides, out, strict=True)
            )
            views.append(padded[(slice(None), slice(None), *index)])
        return views

    def scatter(self, shape: tuple[int, ...], per_tap: Value) -> Value:
        """For each input element (*shape), the sum of `per_tap` (channels, taps) over its reads."""
        padded = self.padded(np.zeros((1, *shape), np.int64))
        for view, column in zip(self.unpadded_taps(padded), per_tap.T, strict=True):
            view += column.reshape(-1, *(1,) * len(self.kernel))
        inner: Value = self.inside(padded, shape[1:])[0]
        return inner

    def inside(self, padded: Value, spatial: Sequence[int]) -> Value:
        """The part of a padded value (batch, channels, *) that is not pads."""
        kept = (slice(b, b + n) for b, n in zip(self.pads, spatial, strict=False))
        return padded[(slice(None), slice(None), *kept)]


@dataclass(frozen=True, slots=True)
class Sliding(Op):
    """Base of the ops whose window is as large as their weights."""

    strides: Strides
    pads: Pads
    dilations: Dilations

    def window(self, kernel: Sequence[int]) -> Window:
        """The window of `kernel` taps."""
        return Window(tuple(kernel), self.strides, self.pads, self.dilations)


@dataclass(frozen=True)  # no slots: Python cannot combine them with those of `Stateful`
class Pooling(Op):
    """Base of the ops that make one value of a window of each channel; x: (channels, *spatial)."""

    kernel: Annotated[tuple[int, ...], "window size, per spatial axis"]
    strides: Strides
    pads: Pads
    dilations: Dilations

    @property
    def window(self) -> Window:
        """The window."""
        return Window(self.kernel, self.strides, self.pads, self.dilations)

    def infer(
        self, inputs: Sequence[TensorType], params: Mapping[str, TensorType]
    ) -> tuple[int, ...]:
        x = inputs[0].shape
        expect(len(x) > 0, "a pool needs channels; this value has no axes")
        return (x[0], *self.window.output(x[1:]))

    def sums(self, x: Value) -> Value:
        """The sum over each window of x (batch, channels, *spatial), integers in 64 bits."""
        whole = self.kernel == x.shape[2:] and not any(self.pads)
        if whole and set(self.dilations) == {1}:
            total: Value = wide(x).sum(axis=tuple(range(2, x.ndim)), keepdims=True)
            return total
        return reduce(np.add, self.window.taps(wide(x)))


def exact_matmul(a: Value, b: Value) -> Value:
    """`a @ b`; integers give the exact int64 result, Python's integers their own.

    Integer sums that stay below 2^53 are exact in float64, where BLAS is fast; larger ones are
    summed in int64.
    """
    if a.dtype.kind == "f" or b.dtype.kind == "f":
        return a @ b
    if object in (a.dtype, b.dtype):
        return unbounded(a) @ unbounded(b)
    if magnitude(a) * magnitude(b) * a.shape[-1] < 1 << 53:
        return (a.astype(np.float64) @ b.astype(np.float64)).astype(np.int64)
    return cast(Value, a.astype(np.int64) @ b.astype(np.int64))


def convolve(x: Value, w: Value, window: Window, groups: int) -> Value:
    """Cross-correlation as ONNX Conv defines it, without bias.

    Args:
        x: (batch, channels, *spatial).
        w: (out channels, channels / groups, *kernel).
        window: The geometry.
        groups: Number of channel groups.

    Returns:
        (batch, out channels, *output spatial), exact for integers.
    """
    given = FLOAT_CONVOLUTION.get()
    if given is not None and x.dtype == w.dtype == np.float32 and 3 <= x.ndim <= 5:
        return given(x, w, window, groups)
    columns = x[:1].size * w[0, 0].size
    block = max(1, _BLOCK // max(columns, 1))
    if len(x) > block:
        parts = (x[i : i + block] for i in range(0, len(x), block))
        return np.concatenate([convolve(part, w, window, groups) for part in parts])
    taps = window.taps(x)
    batch, out = x.shape[0], taps[0].shape[2:]
    if w.shape[1] == 1 and groups == w.shape[0]:
        total = np.zeros((batch, groups, *out), wide(x[:0]).dtype)
        flat = w.reshape(groups, -1).astype(total.dtype)
        for tap, column in zip(taps, flat.T, strict=True):
            total += tap * column.reshape(-1, *(1,) * len(out))
        return total
    unfolded = np.stack(taps, axis=2).reshape(batch, groups, -1, math.prod(out))
    weights = w.reshape(groups, w.shape[0] // groups, -1)
    return exact_matmul(weights, unfolded).reshape(batch, w.shape[0], *out)


def convolve_back(
    gradient: Value, w: Value, window: Window, groups: int, spatial: Sequence[int]
) -> Value:
    """The gradient of a convolution's input (batch, channels, *spatial) from that of its result.

    It is the convolution of the gradient, spread out by the strides, with the mirrored weights.
    """
    rank = len(spatial)
    reach = [d * (k - 1) for d, k in zip(window.dilations, window.kernel, strict=True)]
    pads = zip(window.pads[:rank], window.pads[rank:], strict=True)
    sizes = [n + sum(p) + r for n, p, r in zip(spatial, pads, reach, strict=True)]
    spaced = np.zeros((*gradient.shape[:2], *sizes), gradient.dtype)
    places = zip(reach, window.strides, gradient.shape[2:], strict=True)
    at = (slice(r, r + s * (n - 1) + 1, s) for r, s, n in places)
    spaced[(slice(None), slice(None), *at)] = gradient
    grouped = w.reshape(groups, w.shape[0] // groups, *w.shape[1:]).swapaxes(1, 2)
    mirrored = np.flip(grouped, axis=tuple(range(3, 3 + rank)))
    weights = mirrored.reshape(groups * w.shape[1], w.shape[0] // groups, *w.shape[2:])
    bare = Window(window.kernel, (1,) * rank, (0,) * (2 * rank), window.dilations)
    return window.inside(convolve(spaced, weights, bare, groups), spatial)


def correlate(gradient: Value, x: Value, window: Window, groups: int) -> Value:
    """The gradient of a convolution's weights (groups, out, taps) from that of its result."""
    batch, taps = len(x), window.taps(x)
    if groups == x.shape[1] == gradient.shape[1]:
        places = (0, *range(2, x.ndim))
        return np.stack([(gradient * tap).sum(axis=places) for tap in taps], axis=-1)[:, None]
    unfolded = np.stack(taps, axis=2).reshape(batch, groups, -1, math.prod(gradient.shape[2:]))
    given = gradient.reshape(batch, groups, gradient.shape[1] // groups, -1)
    total: Value = (given @ unfolded.swapaxes(2, 3)).sum(axis=0)
    return total
