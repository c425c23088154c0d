"""Signed neuron with memory and several thresholds, whose spikes carry a payload."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated

import numpy as np

from spikec.ir.neuron import Neuron, Sign, start
from spikec.ir.op import Params, ParamSpec, Value, expect
from spikec.ir.types import TensorType


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

    params = {
        **Neuron.params,
        "theta": ParamSpec("what a payload of 1 stands for, above 0"),
        "fire": ParamSpec("a payload of 2^k is sent from 2^k times this on, above 0"),
    }

    def infer(
        self, inputs: Sequence[TensorType], params: Mapping[str, TensorType]
    ) -> tuple[int, ...]:
        expect(2 <= self.levels <= 8, f"{self.levels} levels, not 2 to 8")
        return Neuron.infer(self, inputs, params)

    def payload_levels(self, inputs: Sequence[TensorType]) -> int:
        """The attribute."""
        return self.levels

    @property
    def sign(self) -> Sign:
        return Sign.FREE if self.free else Sign.TAKES_BACK

    def scan(self, inputs: Sequence[Value], params: Params, steps: int) -> tuple[Value, Value]:
        current, levels = inputs[0], self.levels
        p, v = start(current, params)
        net = np.zeros(v.shape, np.int64)
        payloads = np.zeros((steps, *v.shape), v.dtype)
        potentials = np.empty_like(payloads)
        for t in range(steps):
            v += current[min(t, len(current) - 1)] + p["bias"]
            for unit in (1 << k for k in range(levels)):
                taken = v < -p["fire"] * unit
                if not self.free:
                    taken &= net >= unit
                payloads[t][v >= p["fire"] * unit] = unit
                payloads[t][taken] = -unit
            v -= p["theta"] * payloads[t]
            net += payloads[t].astype(np.int64)
            potentials[t] = v
        return payloads, potentials
