"""Neuron of the layerwise schedule: a window of input, then a window of output."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated

import numpy as np

from spikec.ir.neuron import Neuron, Sign, start
from spikec.ir.op import Params, Value


@dataclass(frozen=True, slots=True)
class IntegrateWindow(Neuron):
    """`V = v0 + sum_t (I[t] + bias)` over T steps; then T steps of `s = V >= theta; V -= theta s`.

    The layer integrates during its own window and fires in the next, so that the spike count is
    `clip(floor(V / theta), 0, T)` exactly, whatever the order in which its input arrived: the
    quantised ANN. With `free` it also fires -1 while V < 0, down to a count of -T.
    Steps count from the start of the firing window; the potential of a step is the one after it.
    """

    free: Annotated[bool, "fire negative spikes too"] = False

    @property
    def sign(self) -> Sign:
        return Sign.FREE if self.free else Sign.UNSIGNED

    def scan(self, inputs: Sequence[Value], params: Params, steps: int) -> tuple[Value, Value]:
        current = inputs[0]
        p, v = start(current, params)
        gain = steps if len(current) == 1 else 1
        v += current.sum(axis=0) * gain + p["bias"] * steps
        spikes = np.empty((steps, *v.shape), v.dtype)
        potentials = np.empty_like(spikes)
        for t in range(steps):
            spikes[t] = v >= p["theta"]
            if self.free:
                spikes[t] -= v < 0
            v -= p["theta"] * spikes[t]
            potentials[t] = v
        return spikes, potentials
