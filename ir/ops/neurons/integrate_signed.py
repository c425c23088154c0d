"""Signed neuron with memory."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated

import numpy as np

from spikec.ir.neuron import Neuron, Sign, start
from spikec.ir.op import Params, ParamSpec, Value


@dataclass(frozen=True, slots=True)
class IntegrateSigned(Neuron):
    """A neuron that takes back spikes which later input disproves (SNM, DNISNM 2024).

    `v += I + bias; s = +1 if v >= theta; -1 if v < theta_neg and n > 0; else 0;
    v -= theta * s; n += s`, from v = v0 and n = 0. The memory n is the net number of spikes
    emitted. With `free` the net count may go below 0: the neuron then relays a signed value.
    theta_neg = 0 corrects at once; in integers 1 - theta is the published rule `v <= -theta`.
    """

    free: Annotated[bool, "fire negative spikes at any net count"] = False

    params = {**Neuron.params, "theta_neg": ParamSpec("negative spikes fire below it, at most 0")}

    @property
    def sign(self) -> Sign:
        return Sign.FREE if self.free else Sign.TAKES_BACK

    def scan(self, inputs: Sequence[Value], params: Params, steps: int) -> tuple[Value, Value]:
        current = inputs[0]
        p, v = start(current, params)
        count = np.zeros(v.shape, np.int32)
        spikes = np.empty((steps, *v.shape), v.dtype)
        potentials = np.empty_like(spikes)
        for t in range(steps):
            v += current[min(t, len(current) - 1)] + p["bias"]
            negative = v < p["theta_neg"]
            if not self.free:
                negative &= count > 0
            spikes[t] = (v >= p["theta"]).astype(v.dtype) - negative
            v -= p["theta"] * spikes[t]
            count += spikes[t].astype(np.int32)
            potentials[t] = v
        return spikes, potentials
