# mypy: allow-subclassing-any, disable-error-code="import-not-found,no-any-return"
"""Signed neuron with memory and several thresholds, whose spikes carry a payload."""

from __future__ import annotations

from typing import Any

import numpy as np
from lava.magma.core.decorator import implements, requires, tag
from lava.magma.core.process.variable import Var
from lava.magma.core.resources import CPU
from lava.magma.core.sync.protocols.loihi_protocol import LoihiProtocol
from neurons.layer import FIXED, FLOAT, FixedPoint, FloatingPoint, Layer, LayerModel
from numpy.typing import NDArray


class IntegrateGraded(Layer):
    """A neuron that sends payloads 1, 2, 4, ... and takes back too much.

    `v += I + bias`, then, with the net sum n of the payloads sent so far, `p = +2^k` for the
    largest k < levels with `v >= fire 2^k`, else `-2^k` for the largest with `v < -fire 2^k` and
    (free or `n >= 2^k`), else 0; `v -= theta p; n += p`, from v = v0 and n = 0.

    Args:
        theta: What a payload of 1 stands for; broadcasts to `shape`, as the others do.
        fire: A payload of 2^k is sent from 2^k times this on.
        levels: Number of payloads, up to 8.
        v0: Initial potential.
        bias: Current added in every step.
        free: Let the net sum go below 0: the neuron relays a signed value.
        given: See `Layer`.
    """

    def __init__(
        self,
        *,
        theta: Any,
        fire: Any,
        levels: int,
        v0: Any = 0,
        bias: Any = 0,
        free: bool = False,
        **given: Any,
    ) -> None:
        super().__init__(free=free, levels=levels, **given)
        shape = given["shape"]
        self.theta = Var(shape=shape, init=theta)
        self.fire = Var(shape=shape, init=fire)
        self.bias = Var(shape=shape, init=bias)
        self.v0 = Var(shape=shape, init=v0)
        self.v = Var(shape=shape, init=v0)
        self.n = Var(shape=shape, init=0)


class IntegrateGradedModel(LayerModel):
    """The neuron's rule, for both arithmetics."""

    spike_kind = np.int16

    theta: NDArray[Any]
    fire: NDArray[Any]
    bias: NDArray[Any]
    v0: NDArray[Any]
    n: NDArray[Any]

    def __init__(self, proc_params: Any) -> None:
        super().__init__(proc_params)
        self.free = proc_params["free"]
        self.units = [1 << k for k in range(proc_params["levels"])]

    def begin(self) -> None:
        """Forget the sample before."""
        self.v[:] = self.v0
        self.n[:] = 0

    def advance(self, current: NDArray[Any]) -> NDArray[Any]:
        """Integrate, fire the largest payload of either sign, reset by as much, sum up."""
        self.integrate(current, self.bias)
        payloads = np.zeros(self.shape, np.int32)
        for unit in self.units:
            taken = self.v < -self.fire * unit
            if not self.free:
                taken &= self.n >= unit
            payloads[self.v >= self.fire * unit] = unit
            payloads[taken] = -unit
        self.v -= self.theta * payloads
        self.n += payloads
        return payloads


@implements(proc=IntegrateGraded, protocol=LoihiProtocol)
@requires(CPU)
@tag("fixed_pt")
class PyIntegrateGradedFixed(FixedPoint, IntegrateGradedModel):
    """Exact 24-bit integers."""

    theta = FIXED
    fire = FIXED
    bias = FIXED
    v0 = FIXED
    n = FIXED


@implements(proc=IntegrateGraded, protocol=LoihiProtocol)
@requires(CPU)
@tag("floating_pt")
class PyIntegrateGradedFloat(FloatingPoint, IntegrateGradedModel):
    """Floating point."""

    theta = FLOAT
    fire = FLOAT
    bias = FLOAT
    v0 = FLOAT
    n = FLOAT
