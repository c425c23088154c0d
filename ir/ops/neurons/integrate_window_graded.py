"""Neuron of the layerwise schedule whose spikes carry powers of two."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from spikec.ir.neuron import Needs, Sign
from spikec.ir.op import Interval, Params, Value
from spikec.ir.ops.neurons.integrate_graded import IntegrateGraded


@dataclass(frozen=True, slots=True)
class IntegrateWindowGraded(IntegrateGraded):
    """`V = v0 + sum_t (I[t] + bias)`; then T steps of the largest payload 2^k with `v >= fire 2^k`.

    The layer integrates during its own window and sends in the next, so that no error of timing
    arises: `v -= theta p`, p = 2^k for the largest k < levels with v >= fire 2^k; with `free`
    also -2^k where v < -fire 2^k. Without `free` payloads may be taken back within the window,
    never more than was sent.
    """

    title = "neuron that gathers a window, then sends payloads 1, 2, 4, ..."
    gathers = True

    def gathered(self, v: Value, current: Value, params: Params, steps: int) -> Value:
        """As a sum, since the order does not matter."""
        gain = steps if len(current) == 1 else 1
        return v + (current.sum(axis=0) * gain + params["bias"] * steps)

    def potential_bounds(
        self, single: Interval, mean: Interval, params: Params, steps: int
    ) -> Interval | None:
        if (2 * params["fire"] < params["theta"]).any():
            return None
        low, high = (steps * (bound + params["bias"]) for bound in mean)
        v0 = params["v0"]
        return self.after_reset(v0 + np.minimum(low, 0), v0 + np.maximum(high, 0), params)

    @classmethod
    def offer(cls, needs: Needs) -> IntegrateWindowGraded | None:
        signed = needs.sign is not Sign.UNSIGNED and needs.gathers and not needs.bits
        return cls(needs.sign is Sign.FREE, needs.levels) if signed and needs.levels > 1 else None
