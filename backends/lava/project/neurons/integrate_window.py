# mypy: allow-subclassing-any, disable-error-code="import-not-found,no-any-return"
"""Neuron of the layerwise schedule: a window of input, then a window of output."""

from __future__ import annotations

from typing import Any

import numpy as np
from lava.magma.core.decorator import implements, requires, tag
from lava.magma.core.model.py.type import LavaPyType
from lava.magma.core.process.variable import Var
from lava.magma.core.resources import CPU
from lava.magma.core.sync.protocols.loihi_protocol import LoihiProtocol
from neurons.layer import FLOAT
from neurons.neuron import FixedNeuron, FloatNeuron, Neuron, NeuronModel
from numpy.typing import NDArray


class IntegrateWindow(Neuron):
    """`u = v0 + sum of (I + bias)` over a sample's steps; then, in as many steps, it fires.

    `s = 1 if v >= theta else 0` (with `free` also `-1 if v < 0`); `v -= theta s`, from v = u.
    While it fires for one sample, the sum u of the next one gathers.

    Args:
        free: Fire negative spikes, too.
        given: See `Neuron`.
    """

    def __init__(self, *, free: bool = False, **given: Any) -> None:
        super().__init__(free=free, **given)
        self.u = Var(shape=given["shape"], init=given.get("v0", 0))


class IntegrateWindowModel(NeuronModel):
    """The neuron's rule, for both arithmetics."""

    u: NDArray[Any]

    def __init__(self, proc_params: Any) -> None:
        super().__init__(proc_params)
        self.free = proc_params["free"]
        self.lag = self.steps

    def gather(self, current: NDArray[Any]) -> None:
        """Add one step's current to the sum."""
        self.check("current", current)
        self.u += current
        self.u += self.bias

    def begin(self) -> None:
        """Fire for the sample that has gathered; start the next sum."""
        self.check("potential", self.u)
        self.v[:] = self.u
        self.u[:] = self.v0

    def advance(self, current: NDArray[Any]) -> NDArray[Any]:
        """Fire, subtract what was fired."""
        spikes = (self.v >= self.theta).astype(np.int8)
        if self.free:
            spikes -= self.v < 0
        self.reset(spikes)
        return spikes


@implements(proc=IntegrateWindow, protocol=LoihiProtocol)
@requires(CPU)
@tag("fixed_pt")
class PyIntegrateWindowFixed(FixedNeuron, IntegrateWindowModel):
    """Exact 24-bit integers; sums on the way may be wider."""

    u = LavaPyType(np.ndarray, np.int64)


@implements(proc=IntegrateWindow, protocol=LoihiProtocol)
@requires(CPU)
@tag("floating_pt")
class PyIntegrateWindowFloat(FloatNeuron, IntegrateWindowModel):
    """Floating point."""

    u = FLOAT
