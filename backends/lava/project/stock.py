# mypy: disable-error-code="import-not-found"
"""Lava's own ATRLIF as an integrate-and-fire layer with soft reset.

ATRLIF fires when `v - r >= theta` and then adds `2 theta` to r; v itself is never reset. Without
decay and adaptation, with half the threshold and v0 lowered by the other half, that is
`v += I + bias; s = v >= theta; v -= theta s` exactly, as long as the sum of all input stays in
24 bits. The neuron knows no samples: a run takes one. It adds its bias from the first step on,
before the layer's first input arrives; v0 makes up for that, or the bias is an input instead.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from lava.proc.atrlif.process import ATRLIF
from neurons import Probe, Source

SHIFT = 6
"""Lava's fixed point ATRLIF holds currents, potentials and thresholds shifted left by this."""


class StockIntegrate:
    """`v += I + bias; s = 1 if v >= theta else 0; v -= theta * s`, from v = v0.

    Args:
        shape: Shape of the layer, channels first.
        theta: Firing threshold; broadcasts to `shape`, as the others do.
        v0: Initial potential.
        bias: Current added in every step.
        bias_as_input: Send the bias to the neuron while the sample is there, where a bias of its
            own would make it fire too early.
        steps: Time steps of the sample.
        samples: 1.
        offset: Synapses on the longest path from the input.
        name: Name of the process.
        tag: The arithmetic.
    """

    def __init__(
        self,
        *,
        shape: tuple[int, ...],
        theta: Any,
        v0: Any,
        steps: int,
        name: str,
        tag: str,
        bias: Any = 0,
        bias_as_input: bool = False,
        samples: int = 1,
        offset: int = 0,
    ) -> None:
        if samples != 1:
            raise ValueError("stock neurons take one sample in a run")
        early = 0 if bias_as_input else offset * np.asarray(bias)
        fixed = tag == "fixed_pt"
        self.half = np.broadcast_to(theta, shape) / 2
        self.unit = 1 << SHIFT if fixed else 1
        self.window = {"offset": offset, "total": steps}
        self.process = ATRLIF(
            shape=shape,
            v=(v0 - early - self.half) * self.unit,
            theta=self.half,
            theta_0=self.half,
            theta_step=0,
            delta_i=4095 / 4096 if fixed else 1,  # the fixed point model adds 1 / 4096
            delta_v=0,
            delta_theta=0,
            delta_r=0,
            bias_mant=0 if bias_as_input else bias,
            bias_exp=SHIFT,
            name=name,
        )
        self.a_in, self.s_out = self.process.a_in, self.process.s_out
        if bias_as_input:
            data = np.broadcast_to(bias, (1, *shape))
            Source(data=data, steps=steps, offset=offset).s_out.connect(self.a_in)

    def trace(self, *, spikes: str | None = None, potentials: str | None = None) -> None:
        """Write traces to .npy files of shape (steps, *shape). Call before the run."""
        if spikes is None and potentials is None:
            return
        probe = Probe(
            half=self.half, unit=self.unit, spikes=spikes, potentials=potentials, **self.window
        )
        self.s_out.connect(probe.a_in)
        if potentials is not None:
            probe.v.connect_var(self.process.v)
            probe.r.connect_var(self.process.r)
