"""Readout of the radix code."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from spikec.ir.neuron import total_weight
from spikec.ir.op import Interval, Params, Value
from spikec.ir.ops.accumulate import Accumulate


@dataclass(frozen=True, slots=True)
class AccumulateRadix(Accumulate):
    """`v = 2 v + I + bias`: a readout of digits, the most significant one first.

    The network's result after t steps is `v[t] * scale / (2^t - 1)`.
    """

    title = "readout of binary digits"
    radix = True

    def charge(self, v: Value, current: Value, params: Params) -> Value:
        return 2 * v + (current + params["bias"])

    def reach(self, mean: Interval, params: Params, steps: int) -> Value | None:
        low, high = mean
        bias = params["bias"]
        drift = np.maximum(np.maximum(-(low + bias), high + bias), 0.0)
        return np.asarray(total_weight(steps, radix=True) * drift)

    def potential_bounds(
        self, single: Interval, mean: Interval, params: Params, steps: int
    ) -> Interval | None:
        weight = total_weight(steps, radix=True)
        low, high = (bound + params["bias"] for bound in mean)
        return np.minimum(low, weight * low), np.maximum(high, weight * high)
