"""Integrate-and-fire neuron with soft reset."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from spikec.ir.neuron import Needs, Neuron, Sign, State, hull, soft_reach
from spikec.ir.op import Interval, Params, Value


@dataclass(frozen=True, slots=True)
class Integrate(Neuron):
    """`v += I + bias; s = 1 if v >= theta else 0; v -= theta * s`, from v = v0.

    The potential of a step is the one after the reset. Summed over T steps with v0 = theta / 2
    and constant input this is the QCFS activation (Bu et al., ICLR 2022, eq. 8-12).
    """

    title = "integrate-and-fire with soft reset"

    @property
    def sign(self) -> Sign:
        return Sign.UNSIGNED

    def fire(self, state: State, params: Params) -> Value:
        return (state.v >= params["theta"]).astype(state.v.dtype)

    def after_reset(self, low: Value, high: Value, params: Params) -> Interval:
        theta = params["theta"]
        return hull(
            (high >= theta, np.maximum(low, theta) - theta, high - theta),
            (low < theta, low, np.minimum(high, theta - 1)),
        )

    def reach(self, mean: Interval, params: Params, steps: int) -> Value | None:
        return soft_reach(mean, params, steps) if (params["theta"] > 0).all() else None

    @classmethod
    def offer(cls, needs: Needs) -> Integrate | None:
        return cls() if needs == Needs(Sign.UNSIGNED) else None
