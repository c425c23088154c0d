"""Signed neuron with memory."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import numpy as np

from spikec.ir.neuron import Needs, Neuron, Sign, State, hull, soft_reach
from spikec.ir.op import Interval, Params, ParamSpec, Value


@dataclass(frozen=True, slots=True)
class IntegrateSigned(Neuron):
    """A neuron that takes back spikes which later input disproves (SNM, DNISNM 2024).

    `v += I + bias; s = +1 if v >= theta; -1 if v < theta_neg and n > 0; else 0;
    v -= theta * s; n += s`, from v = v0 and n = 0. The memory n is the net number of spikes
    emitted. With `free` the net count may go below 0: the neuron then relays a signed value.
    theta_neg = 0 corrects at once; in integers 1 - theta is the published rule `v <= -theta`.
    """

    free: Annotated[bool, "fire negative spikes at any net count"] = False

    title = "signed neuron with memory"
    params = {
        **Neuron.params,
        "theta_neg": ParamSpec("negative spikes fire below it, at most 0", "potential", share=0.0),
    }

    @property
    def sign(self) -> Sign:
        return Sign.FREE if self.free else Sign.TAKES_BACK

    def fire(self, state: State, params: Params) -> Value:
        negative = state.v < params["theta_neg"]
        if not self.free:
            negative &= state.net > 0
        return (state.v >= params["theta"]).astype(state.v.dtype) - negative

    def after_reset(self, low: Value, high: Value, params: Params) -> Interval:
        theta, below = params["theta"], params["theta_neg"]
        quiet = np.maximum(low, below) if self.free else low
        return hull(
            (high >= theta, np.maximum(low, theta) - theta, high - theta),
            ((quiet < theta) & (quiet <= high), quiet, np.minimum(high, theta - 1)),
            (low < below, low + theta, np.minimum(high, below - 1) + theta),
        )

    def reach(self, mean: Interval, params: Params, steps: int) -> Value | None:
        holds = (params["theta"] > 0).all() and (params["theta_neg"] <= 0).all()
        return soft_reach(mean, params, steps) if holds else None

    def potential_bounds(
        self, single: Interval, mean: Interval, params: Params, steps: int
    ) -> Interval | None:
        """Nothing is known where thresholds of both signs may cross."""
        reach = self.reach(mean, params, steps)
        return None if reach is None else self.followed(single, params, steps, reach)

    @classmethod
    def offer(cls, needs: Needs) -> IntegrateSigned | None:
        signed = needs.sign is not Sign.UNSIGNED
        return cls(needs.sign is Sign.FREE) if signed and needs == Needs(needs.sign) else None
