# mypy: allow-subclassing-any, disable-error-code="import-not-found,no-any-return"
"""Signed neuron with memory (SNM)."""

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


class IntegrateSigned(SignedNeuron):
    """A neuron that takes spikes back: `v += I + bias`, then, with n net spikes emitted so far.

    `s = +1 if v >= theta; -1 if v < theta_neg and (free or n > 0); else 0;
    v -= theta * s; n += s`, from v = v0 and n = 0.

    Args:
        theta_neg: Negative spikes fire strictly below it.
        given: See `SignedNeuron`.
    """

    def __init__(self, *, theta_neg: Any, **given: Any) -> None:
        super().__init__(**given)
        self.theta_neg = Var(shape=given["shape"], init=theta_neg)


class IntegrateSignedModel(SignedNeuronModel):
    """The neuron's rule, for both arithmetics."""

    theta_neg: NDArray[Any]

    def sent(self) -> NDArray[Any]:
        """Unit spikes of either sign."""
        negative = self.v < self.theta_neg
        if not self.free:
            negative &= self.n > 0
        return (self.v >= self.theta).astype(np.int8) - negative.astype(np.int8)


@implements(proc=IntegrateSigned, protocol=LoihiProtocol)
@requires(CPU)
@tag("fixed_pt")
class PyIntegrateSignedFixed(FixedNeuron, IntegrateSignedModel):
    """Exact 24-bit integers."""

    theta_neg = FIXED
    n = FIXED


@implements(proc=IntegrateSigned, protocol=LoihiProtocol)
@requires(CPU)
@tag("floating_pt")
class PyIntegrateSignedFloat(FloatNeuron, IntegrateSignedModel):
    """Floating point."""

    theta_neg = FLOAT
    n = FLOAT
