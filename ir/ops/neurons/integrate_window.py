"""Neuron of the layerwise schedule: a window of input, then a window of output."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import numpy as np

from spikec.ir.neuron import Needs, Neuron, Sign, State, soft_reach
from spikec.ir.op import Interval, Params, Value


@dataclass(frozen=True, slots=True)
class IntegrateWindow(Neuron):
    """`V = v0 + sum_t (I[t] + bias)` over T steps; then T steps of `s = V >= theta; V -= theta s`.

    The layer integrates during its own window and fires in the next, so that the spike count is
    `clip(floor(V / theta), 0, T)` exactly, whatever the order in which its input arrived: the
    quantised ANN. With `free` it also fires -1 while V < 0, down to a count of -T.
    Steps count from the start of the firing window; the potential of a step is the one after it.
    """

    free: Annotated[bool, "fire negative spikes too"] = False

    title = "neuron that gathers a window, then fires"
    gathers = True

    @property
    def sign(self) -> Sign:
        return Sign.FREE if self.free else Sign.UNSIGNED

    def gathered(self, v: Value, current: Value, params: Params, steps: int) -> Value:
        """As a sum, since the order does not matter."""
        gain = steps if len(current) == 1 else 1
        return v + (current.sum(axis=0) * gain + params["bias"] * steps)

    def fire(self, state: State, params: Params) -> Value:
        fired = (state.v >= params["theta"]).astype(state.v.dtype)
        return fired - (state.v < 0) if self.free else fired

    def after_reset(self, low: Value, high: Value, params: Params) -> Interval:
        """Firing brings it towards 0."""
        return np.minimum(low, 0), np.maximum(high, params["theta"])

    def reach(self, mean: Interval, params: Params, steps: int) -> Value | None:
        return soft_reach(mean, params, steps)

    def potential_bounds(
        self, single: Interval, mean: Interval, params: Params, steps: int
    ) -> Interval | None:
        """Those of the sum, which firing brings towards 0."""
        if (params["theta"] <= 0).any():
            return None
        low, high = (steps * (bound + params["bias"]) for bound in mean)
        v0 = params["v0"]
        return self.after_reset(v0 + np.minimum(low, 0), v0 + np.maximum(high, 0), params)

    @classmethod
    def offer(cls, needs: Needs) -> IntegrateWindow | None:
        free = needs.sign is Sign.FREE
        return cls(free) if needs == Needs(cls(free).sign, gathers=True) else None
