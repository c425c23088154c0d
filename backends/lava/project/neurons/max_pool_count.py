# mypy: allow-subclassing-any, disable-error-code="import-not-found,no-any-return"
"""Max pooling of spike trains by the running-count maximum."""

from __future__ import annotations

from typing import Any

import numpy as np
from lava.magma.core.decorator import implements, requires, tag
from lava.magma.core.process.variable import Var
from lava.magma.core.resources import CPU
from lava.magma.core.sync.protocols.loihi_protocol import LoihiProtocol
from neurons.layer import FixedPoint, FloatingPoint, Layer, LayerModel
from numpy.typing import NDArray

LOWEST = -(1 << 23)
"""Stands where a window reaches beyond the map: never the maximum."""


class MaxPoolCount(Layer):
    """`s[t] = max_i N_i[t] - max_i N_i[t-1]` over a window's net spike counts N.

    Counts change by at most one per step, so s is a signed spike and its sum is the largest
    count. The potential v is the running maximum. Of graded spikes N is the net sum of payloads.

    Args:
        in_shape: (channels, *spatial) of the spikes that come in; `shape` is what goes out.
        kernel: Window size per spatial axis.
        strides: Step of the window per spatial axis.
        pads: Places added around the map: first all begins, then all ends.
        dilations: Distance of taps per spatial axis.
        given: See `Layer`.
    """

    def __init__(
        self,
        *,
        in_shape: tuple[int, ...],
        kernel: tuple[int, ...],
        strides: tuple[int, ...],
        pads: tuple[int, ...],
        dilations: tuple[int, ...],
        **given: Any,
    ) -> None:
        window = {"kernel": kernel, "strides": strides, "pads": pads, "dilations": dilations}
        super().__init__(in_shape=in_shape, window=window, **given)
        self.counts = Var(shape=in_shape, init=0)
        self.v = Var(shape=given["shape"], init=0)


class MaxPoolCountModel(LayerModel):
    """The pooling rule, for both arithmetics."""

    spike_kind = np.int16
    counts: NDArray[Any]

    def __init__(self, proc_params: Any) -> None:
        super().__init__(proc_params)
        window = proc_params["window"]
        rank = len(window["kernel"])
        self.widths = [(0, 0), *zip(window["pads"][:rank], window["pads"][rank:], strict=True)]
        axes = list(zip(window["dilations"], window["strides"], self.shape[1:], strict=True))
        self.taps = [
            (slice(None), *(slice(t * d, t * d + s * (o - 1) + 1, s) for t, (d, s, o) in places))
            for tap in np.ndindex(*window["kernel"])
            for places in [list(zip(tap, axes, strict=True))]
        ]

    def begin(self) -> None:
        """Forget the sample before."""
        self.counts[:] = 0
        self.v[:] = 0

    def advance(self, current: NDArray[Any]) -> NDArray[Any]:
        """Count, take the maximum of each window, send its change."""
        self.counts += current
        padded = np.pad(self.counts, self.widths, constant_values=LOWEST)
        best = padded[self.taps[0]].copy()
        for tap in self.taps[1:]:
            np.maximum(best, padded[tap], out=best)
        spikes = best - self.v
        self.v[:] = best
        return spikes


@implements(proc=MaxPoolCount, protocol=LoihiProtocol)
@requires(CPU)
@tag("fixed_pt")
class PyMaxPoolCountFixed(FixedPoint, MaxPoolCountModel):
    """Exact 24-bit integers."""

    counts = FixedPoint.v


@implements(proc=MaxPoolCount, protocol=LoihiProtocol)
@requires(CPU)
@tag("floating_pt")
class PyMaxPoolCountFloat(FloatingPoint, MaxPoolCountModel):
    """Floating point."""

    counts = FloatingPoint.v
