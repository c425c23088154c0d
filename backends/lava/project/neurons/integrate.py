# mypy: allow-subclassing-any, disable-error-code="import-not-found,no-any-return"
"""Integrate-and-fire with soft reset."""

from __future__ import annotations

from typing import Any

from lava.magma.core.decorator import implements, requires, tag
from lava.magma.core.resources import CPU
from lava.magma.core.sync.protocols.loihi_protocol import LoihiProtocol
from neurons.neuron import FixedNeuron, FloatNeuron, Neuron, NeuronModel
from numpy.typing import NDArray


class Integrate(Neuron):
    """`v += I + bias; s = 1 if v >= theta else 0; v -= theta * s`, from v = v0; see `Neuron`."""


class IntegrateModel(NeuronModel):
    """The neuron's rule, for both arithmetics."""

    def sent(self) -> NDArray[Any]:
        """A spike where the threshold is reached."""
        return self.v >= self.theta


@implements(proc=Integrate, protocol=LoihiProtocol)
@requires(CPU)
@tag("fixed_pt")
class PyIntegrateFixed(FixedNeuron, IntegrateModel):
    """Exact 24-bit integers."""


@implements(proc=Integrate, protocol=LoihiProtocol)
@requires(CPU)
@tag("floating_pt")
class PyIntegrateFloat(FloatNeuron, IntegrateModel):
    """Floating point."""
