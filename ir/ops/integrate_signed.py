"""Signed neuron with memory."""

from collections.abc import Sequence

import numpy as np

from spikec.ir.neuron import Neuron, start
from spikec.ir.op import PLACEMENT, Attr, Attrs, Params, ParamSpec, Value


class IntegrateSigned(Neuron):
    """A neuron that takes back spikes which later input disproves (SNM, DNISNM 2024).

    `v += I + bias; s = +1 if v >= theta; -1 if v < theta_neg and n > 0; else 0;
    v -= theta * s; n += s`, from v = v0 and n = 0. The memory n is the net number of spikes
    emitted. With `free` the net count may go below 0: the neuron then relays a signed value.
    theta_neg = 0 corrects at once; in integers 1 - theta is the published rule `v <= -theta`.
    """

    attrs = {**PLACEMENT, "free": Attr(bool, "fire negative spikes at any net count", False)}
    params = {**Neuron.params, "theta_neg": ParamSpec("negative spikes fire below it, at most 0")}

    def scan(
        self, inputs: Sequence[Value], attrs: Attrs, params: Params, steps: int
    ) -> tuple[Value, Value]:
        current = inputs[0]
        p, v = start(current, params)
        count = np.zeros(v.shape, np.int32)
        spikes = np.empty((steps, *v.shape), v.dtype)
        potentials = np.empty_like(spikes)
        for t in range(steps):
            v += current[min(t, len(current) - 1)] + p["bias"]
            negative = v < p["theta_neg"]
            if not attrs["free"]:
                negative &= count > 0
            spikes[t] = (v >= p["theta"]).astype(v.dtype) - negative
            v -= p["theta"] * spikes[t]
            count += spikes[t].astype(np.int32)
            potentials[t] = v
        return spikes, potentials
