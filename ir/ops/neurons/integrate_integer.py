"""Neuron whose spikes carry an integer: how many thresholds have gathered."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated

import numpy as np

from spikec.ir.neuron import Needs, Neuron, Sign, State, soft_reach
from spikec.ir.op import Interval, Params, ParamSpec, Value, expect
from spikec.ir.types import DType, TensorType, payloads


@dataclass(frozen=True, slots=True)
class IntegrateInteger(Neuron):
    """`v += I + bias; p = clip(floor(v / theta), low, high); v -= theta p; n += p`, from v0 and 0.

    Loihi 2's graded spikes carry integers. An unsigned neuron sends 0 to `2^bits - 1` and takes
    back what it sent too much: low is the negative of its net sum n, at least `1 - 2^bits`. With
    `free` it relays a signed value in `bits` bits, sign included: low is `-2^(bits-1)` and high
    `2^(bits-1) - 1`, whatever n is. With one step and v0 = theta / 2 this is a uniform
    quantiser: the quantised network itself.
    """

    free: Annotated[bool, "send negative payloads at any net sum"] = False
    bits: Annotated[int, "width of a payload, the sign of a free neuron included: 1 to 8"] = 8

    title = "neuron with integer payloads"
    params = {
        **Neuron.params,
        "theta": ParamSpec("what a payload of 1 stands for, above 0", "potential"),
    }

    def infer(
        self, inputs: Sequence[TensorType], params: Mapping[str, TensorType]
    ) -> tuple[int, ...]:
        least = 2 if self.free else 1
        expect(least <= self.bits <= 8, f"payloads of {self.bits} bits, not {least} to 8")
        return Neuron.infer(self, inputs, params)

    @property
    def sign(self) -> Sign:
        return Sign.FREE if self.free else Sign.TAKES_BACK

    @property
    def payload(self) -> DType:
        return payloads(self.bits if self.free else self.bits + 1, signed=True)

    @property
    def limits(self) -> tuple[int, int]:
        """The smallest and the largest payload."""
        if self.free:
            return -(1 << (self.bits - 1)), (1 << (self.bits - 1)) - 1
        high = (1 << self.bits) - 1
        return (0 if self.gathers else -high), high

    def fire(self, state: State, params: Params) -> Value:
        low, high = self.limits
        units = np.floor_divide(state.v, params["theta"])
        least = low if self.free or self.gathers else np.maximum(-state.net, low)
        return np.clip(units, least, high).astype(state.v.dtype)

    def after_reset(self, low: Value, high: Value, params: Params) -> Interval:
        """What is left is below theta, unless the payload was not large enough."""
        theta = params["theta"]
        least, most = self.limits
        rest = np.maximum(high - most * theta, theta)
        owed = np.minimum(low - least * theta, 0) if self.free else np.minimum(low, 0)
        return owed, np.maximum(rest, 0)

    def reach(self, mean: Interval, params: Params, steps: int) -> Value | None:
        return soft_reach(mean, params, steps)

    def potential_bounds(
        self, single: Interval, mean: Interval, params: Params, steps: int
    ) -> Interval | None:
        return self.followed(single, params, steps)

    @classmethod
    def offer(cls, needs: Needs) -> IntegrateInteger | None:
        if not needs.bits or needs.gathers is not cls.gathers:
            return None
        wanted = Sign.UNSIGNED if cls.gathers else Sign.TAKES_BACK
        return (
            cls(needs.sign is Sign.FREE, needs.bits) if needs.sign in (wanted, Sign.FREE) else None
        )
