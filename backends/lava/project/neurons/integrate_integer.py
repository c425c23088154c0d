# mypy: allow-subclassing-any, disable-error-code="import-not-found,no-any-return"
"""Neuron whose spikes carry an integer: how many thresholds have gathered."""

from __future__ import annotations

from typing import Any

import numpy as np
from lava.magma.core.decorator import implements, requires, tag
from lava.magma.core.resources import CPU
from lava.magma.core.sync.protocols.loihi_protocol import LoihiProtocol
from neurons.layer import FIXED, FLOAT
from neurons.neuron import FixedNeuron, FloatNeuron, SignedNeuron, SignedNeuronModel
from numpy.typing import NDArray


class IntegrateInteger(SignedNeuron):
    """`v += I + bias; p = clip(floor(v / theta), low, high); v -= theta p; n += p`, from v0 and 0.

    With `free` low is `-2^(bits-1)` and high `2^(bits-1) - 1`; else high is `2^bits - 1` and low
    -n, what it may take back, at least -high.

    Args:
        bits: Width of a payload.
        given: See `SignedNeuron`.
    """

    def __init__(self, *, bits: int, **given: Any) -> None:
        super().__init__(bits=bits, **given)


class IntegrateIntegerModel(SignedNeuronModel):
    """The neuron's rule, for both arithmetics."""

    spike_kind = np.int16

    def __init__(self, proc_params: Any) -> None:
        super().__init__(proc_params)
        self.most = (1 << (proc_params["bits"] - self.free)) - 1

    def least(self) -> NDArray[Any] | int:
        """The smallest payload that may be sent now."""
        return -1 - self.most if self.free else np.maximum(-self.n, -self.most)

    def sent(self) -> NDArray[Any]:
        """How many thresholds there are."""
        return np.clip(self.v // self.theta, self.least(), self.most)


@implements(proc=IntegrateInteger, protocol=LoihiProtocol)
@requires(CPU)
@tag("fixed_pt")
class PyIntegrateIntegerFixed(FixedNeuron, IntegrateIntegerModel):
    """Exact 24-bit integers."""

    n = FIXED


@implements(proc=IntegrateInteger, protocol=LoihiProtocol)
@requires(CPU)
@tag("floating_pt")
class PyIntegrateIntegerFloat(FloatNeuron, IntegrateIntegerModel):
    """Floating point."""

    n = FLOAT
