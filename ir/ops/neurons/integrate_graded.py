"""Signed neuron with memory and several thresholds, whose spikes carry a payload."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated

import numpy as np

from spikec.ir.neuron import Needs, Neuron, Sign, State, soft_reach
from spikec.ir.op import Interval, Params, ParamSpec, Value, expect
from spikec.ir.types import DType, TensorType, spikes


@dataclass(frozen=True, slots=True)
class IntegrateGraded(Neuron):
    """A neuron that sends how much has gathered, as a power of two, and takes back too much.

    In each step, from v = v0 and n = 0:

        v += I + bias
        p = +2^k for the largest k < levels with v >= fire 2^k; else
            -2^k for the largest k < levels with v < -fire 2^k and n >= 2^k; else 0
        v -= theta p;  n += p

    The memory n is the net sum of payloads, and never falls below 0; with `free` the condition
    n >= 2^k is dropped and the neuron relays a signed value. A tie v = fire 2^k fires, a tie
    v = -fire 2^k does not, so that 2 fire = theta cannot fire + and - in turn for ever. With
    2 fire >= theta firing never raises |v|. theta is what a payload of 1 stands for; a synapse
    and the reset need shifts only. With fire = 3/4 theta the payload is the nearest power of two
    (after the multi-threshold neuron of DCGS, ICML 2025).
    """

    free: Annotated[bool, "fire negative spikes at any net sum"] = False
    levels: Annotated[int, "number of payloads 1, 2, 4, ...: 2 to 8"] = 4

    title = "signed neuron with payloads 1, 2, 4, ..."
    params = {
        **Neuron.params,
        "theta": ParamSpec("what a payload of 1 stands for, above 0", "potential"),
        "fire": ParamSpec(
            "a payload of 2^k is sent from 2^k times this on, above 0", "potential", share=0.75
        ),
    }

    def infer(
        self, inputs: Sequence[TensorType], params: Mapping[str, TensorType]
    ) -> tuple[int, ...]:
        expect(2 <= self.levels <= 8, f"{self.levels} levels, not 2 to 8")
        return Neuron.infer(self, inputs, params)

    @property
    def sign(self) -> Sign:
        return Sign.FREE if self.free else Sign.TAKES_BACK

    @property
    def payload(self) -> DType:
        return spikes(self.levels)

    def fire(self, state: State, params: Params) -> Value:
        payload = np.zeros_like(state.v)
        for unit in (1 << k for k in range(self.levels)):
            taken = state.v < -params["fire"] * unit
            if not self.free:
                taken &= state.net >= unit
            payload[state.v >= params["fire"] * unit] = unit
            payload[taken] = -unit
        return payload

    def after_reset(self, low: Value, high: Value, params: Params) -> Interval:
        """Firing never raises |v|, as 2 fire >= theta."""
        return np.minimum(low, -high), np.maximum(high, -low)

    def reach(self, mean: Interval, params: Params, steps: int) -> Value | None:
        return soft_reach(mean, params, steps)

    def potential_bounds(
        self, single: Interval, mean: Interval, params: Params, steps: int
    ) -> Interval | None:
        """By single steps alone; nothing is known where firing may raise |v|."""
        raises = (params["theta"] <= 0).any() or (2 * params["fire"] < params["theta"]).any()
        return None if raises else self.followed(single, params, steps)

    def admissible(self, params: Params) -> dict[str, Value]:
        """2 fire >= theta, so that firing never raises |v|."""
        theta = np.maximum(params["theta"], 1)
        return {**params, "theta": theta, "fire": np.maximum(params["fire"], np.ceil(theta / 2))}

    @classmethod
    def offer(cls, needs: Needs) -> IntegrateGraded | None:
        signed = needs.sign is not Sign.UNSIGNED and not needs.gathers
        return cls(needs.sign is Sign.FREE, needs.levels) if signed and needs.levels > 1 else None
