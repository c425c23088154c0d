"""Neuron of the layerwise schedule whose spikes carry integers."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from spikec.ir.neuron import Sign
from spikec.ir.op import Interval, Params, Value
from spikec.ir.ops.neurons.integrate_integer import IntegrateInteger
from spikec.ir.types import DType, payloads


@dataclass(frozen=True, slots=True)
class IntegrateWindowInteger(IntegrateInteger):
    """`V = v0 + sum_t (I[t] + bias)`; then T steps of `p = clip(floor(v / theta), low, high)`.

    The layer integrates during its own window and sends integer payloads in the next, `v -= theta
    p`: in all `clip(floor(V / theta), T low, T high)`, without an error of timing. Payloads are 0
    to `2^bits - 1`; with `free` -2^(bits-1) to `2^(bits-1) - 1`.
    """

    title = "neuron that gathers a window, then sends integers"
    gathers = True

    @property
    def sign(self) -> Sign:
        return Sign.FREE if self.free else Sign.UNSIGNED

    @property
    def payload(self) -> DType:
        return payloads(self.bits, signed=self.free)

    def gathered(self, v: Value, current: Value, params: Params, steps: int) -> Value:
        """As a sum, since the order does not matter."""
        gain = steps if len(current) == 1 else 1
        return v + (current.sum(axis=0) * gain + params["bias"] * steps)

    def after_reset(self, low: Value, high: Value, params: Params) -> Interval:
        """Sending brings it towards 0, or to a rest below theta."""
        return np.minimum(low, 0), np.maximum(high, params["theta"])

    def potential_bounds(
        self, single: Interval, mean: Interval, params: Params, steps: int
    ) -> Interval | None:
        low, high = (steps * (bound + params["bias"]) for bound in mean)
        v0 = params["v0"]
        return self.after_reset(v0 + np.minimum(low, 0), v0 + np.maximum(high, 0), params)
