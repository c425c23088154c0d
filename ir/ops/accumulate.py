"""Readout."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from spikec.ir.neuron import Membrane, soft_reach
from spikec.ir.op import Interval, Params, Value


@dataclass(frozen=True, slots=True)
class Accumulate(Membrane):
    """`v += I + bias`: a readout that never fires and is never reset.

    The network's result after t steps is `v[t] * scale / t`.
    """

    title = "readout"

    def scan(self, inputs: Sequence[Value], params: Params, steps: int) -> tuple[Value, Value]:
        current = inputs[0]
        p = self.spread_params(params, current.shape[2:], current)
        v = np.zeros(current.shape[1:], current.dtype)
        potentials = np.empty((steps, *v.shape), v.dtype)
        for t in range(steps):
            v = potentials[t] = self.charge(v, current[min(t, len(current) - 1)], p)
        return potentials, potentials

    def reach(self, mean: Interval, params: Params, steps: int) -> Value | None:
        return soft_reach(mean, params, steps)

    def potential_bounds(
        self, single: Interval, mean: Interval, params: Params, steps: int
    ) -> Interval | None:
        low, high = (bound + params["bias"] for bound in mean)
        return np.minimum(low, steps * low), np.maximum(high, steps * high)
