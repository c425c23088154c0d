"""Integrate-and-fire neuron with soft reset."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from spikec.ir.neuron import Neuron, Sign, start
from spikec.ir.op import Params, Value


@dataclass(frozen=True, slots=True)
class Integrate(Neuron):
    """`v += I + bias; s = 1 if v >= theta else 0; v -= theta * s`, from v = v0.

    The potential of a step is the one after the reset. Summed over T steps with v0 = theta / 2
    and constant input this is the QCFS activation (Bu et al., ICLR 2022, eq. 8-12).
    """

    @property
    def sign(self) -> Sign:
        return Sign.UNSIGNED

    def scan(self, inputs: Sequence[Value], params: Params, steps: int) -> tuple[Value, Value]:
        current = inputs[0]
        p, v = start(current, params)
        spikes = np.empty((steps, *v.shape), v.dtype)
        potentials = np.empty_like(spikes)
        for t in range(steps):
            v += current[min(t, len(current) - 1)] + p["bias"]
            spikes[t] = v >= p["theta"]
            v -= p["theta"] * spikes[t]
            potentials[t] = v
        return spikes, potentials
