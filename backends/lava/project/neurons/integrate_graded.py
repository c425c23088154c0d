# mypy: allow-subclassing-any, disable-error-code="import-not-found,no-any-return"
"""Signed neuron with memory and several thresholds, whose spikes carry a payload."""

from __future__ import annotations

from typing import Any

import numpy as np
from lava.magma.core.decorator import implements, requires, tag
from lava.magma.core.process.variable import Var
from lava.magma.core.resources import CPU
from lava.magma.core.sync.protocols.loihi_protocol import LoihiProtocol
from neurons.layer import FIXED, FLOAT
from neurons.neuron import FixedNeuron, FloatNeuron, SignedNeuron, SignedNeuronModel
from numpy.typing import NDArray


class IntegrateGraded(SignedNeuron):
    """A neuron that sends payloads 1, 2, 4, ... and takes back too much.

    `v += I + bias`, then, with the net sum n of the payloads sent so far, `p = +2^k` for the
    largest k < levels with `v >= fire 2^k`, else `-2^k` for the largest with `v < -fire 2^k` and
    (free or `n >= 2^k`), else 0; `v -= theta p; n += p`, from v = v0 and n = 0.

    Args:
        fire: A payload of 2^k is sent from 2^k times this on.
        levels: Number of payloads, up to 8.
        given: See `SignedNeuron`.
    """

    def __init__(self, *, fire: Any, levels: int, **given: Any) -> None:
        super().__init__(levels=levels, **given)
        self.fire = Var(shape=given["shape"], init=fire)


class IntegrateGradedModel(SignedNeuronModel):
    """The neuron's rule, for both arithmetics."""

    spike_kind = np.int16
    fire: NDArray[Any]

    def __init__(self, proc_params: Any) -> None:
        super().__init__(proc_params)
        self.units = [1 << k for k in range(proc_params["levels"])]

    def sent(self) -> NDArray[Any]:
        """The largest payload of either sign."""
        payloads = np.zeros(self.shape, np.int32)
        for unit in self.units:
            taken = self.v < -self.fire * unit
            if not self.free:
                taken &= self.n >= unit
            payloads[self.v >= self.fire * unit] = unit
            payloads[taken] = -unit
        return payloads


@implements(proc=IntegrateGraded, protocol=LoihiProtocol)
@requires(CPU)
@tag("fixed_pt")
class PyIntegrateGradedFixed(FixedNeuron, IntegrateGradedModel):
    """Exact 24-bit integers."""

    fire = FIXED
    n = FIXED


@implements(proc=IntegrateGraded, protocol=LoihiProtocol)
@requires(CPU)
@tag("floating_pt")
class PyIntegrateGradedFloat(FloatNeuron, IntegrateGradedModel):
    """Floating point."""

    fire = FLOAT
    n = FLOAT
