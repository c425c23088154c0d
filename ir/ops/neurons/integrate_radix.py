"""Neuron of the radix code: spikes are binary digits, the most significant one first."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import numpy as np

from spikec.ir.neuron import Needs, Neuron, Sign, State, total_weight
from spikec.ir.op import Interval, Params, Value


@dataclass(frozen=True, slots=True)
class IntegrateRadix(Neuron):
    """`V = sum_t 2^(T-1-t) (I[t] + bias)`; then the binary digits of `floor((V + v0) / theta)`.

    While its window of T steps fills, the potential doubles in each step: `v = 2 v + I + bias`, so
    that what arrives first counts most. In the next T steps it sends
    `s = v >= theta 2^(T-1-t); v -= theta 2^(T-1-t) s` from `v = V + v0`: the digits of
    `clip(floor((V + v0) / theta), 0, 2^T - 1)`. T unit spikes carry 2^T levels, and the network
    is the quantised ANN exactly. With `free` it sends the digits of the magnitude, all of them
    negative where V < 0: `v = V - v0` then, and `s = -1` where `v <= -theta 2^(T-1-t)`.
    (After the few-spikes neurons of Stoeckl and Maass, Nature Machine Intelligence 2021, and
    radix-encoded networks.) Steps count from the start of the firing window.
    """

    free: Annotated[bool, "send the digits of negative values too"] = False

    title = "neuron that gathers a window, then sends binary digits"
    gathers = True
    radix = True

    @property
    def sign(self) -> Sign:
        return Sign.FREE if self.free else Sign.UNSIGNED

    def charge(self, v: Value, current: Value, params: Params) -> Value:
        return 2 * v + (current + params["bias"])

    def gathered(self, v: Value, current: Value, params: Params, steps: int) -> Value:
        """The sum; v0 joins it on the side of 0 that it lies on."""
        total = np.zeros_like(v)
        for t in range(steps):
            total = self.charge(total, current[min(t, len(current) - 1)], params)
        return np.where(total < 0, total - v, total + v) if self.free else total + v

    def fire(self, state: State, params: Params) -> Value:
        unit = params["theta"] * (1 << (state.steps - 1 - state.step))
        fired = (state.v >= unit).astype(state.v.dtype)
        return fired - (state.v <= -unit) if self.free else fired

    def amount(self, payload: Value, params: Params, step: int, steps: int) -> Value:
        return params["theta"] * (payload * (1 << (steps - 1 - step)))

    def after_reset(self, low: Value, high: Value, params: Params) -> Interval:
        """Firing brings it towards 0, never beyond."""
        return np.minimum(low, 0), np.maximum(high, 0)

    def reach(self, mean: Interval, params: Params, steps: int) -> Value | None:
        low, high = mean
        bias = params["bias"]
        drift = np.maximum(np.maximum(-(low + bias), high + bias), 0.0)
        # While digits are sent, theta 2^(T-1) is compared with the potential.
        largest = params["theta"] * (1 << (steps - 1))
        sums = np.abs(params["v0"]) + total_weight(steps, radix=True) * drift
        return np.asarray(np.maximum(sums, largest))

    def potential_bounds(
        self, single: Interval, mean: Interval, params: Params, steps: int
    ) -> Interval | None:
        """Those of the weighted sum, with v0 on its side of 0."""
        weight = total_weight(steps, radix=True)
        low, high = (weight * (bound + params["bias"]) for bound in mean)
        start = np.abs(params["v0"])
        return np.minimum(low, 0) - start, np.maximum(high, 0) + start

    @classmethod
    def offer(cls, needs: Needs) -> IntegrateRadix | None:
        free = needs.sign is Sign.FREE
        return cls(free) if needs == Needs(cls(free).sign, gathers=True, radix=True) else None
