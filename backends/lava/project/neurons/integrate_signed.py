# mypy: allow-subclassing-any, disable-error-code="import-not-found,no-any-return"
"""Signed neuron with memory (SNM)."""

from __future__ import annotations

from typing import Any

import numpy as np
from lava.magma.core.decorator import implements, requires, tag
from lava.magma.core.process.variable import Var
from lava.magma.core.resources import CPU
from lava.magma.core.sync.protocols.loihi_protocol import LoihiProtocol
from neurons.layer import FIXED, FLOAT, FixedPoint, FloatingPoint, Layer, LayerModel
from numpy.typing import NDArray


class IntegrateSigned(Layer):
    """A neuron that takes spikes back: `v += I + bias`, then, with n net spikes emitted so far.

    `s = +1 if v >= theta; -1 if v < theta_neg and (free or n > 0); else 0;
    v -= theta * s; n += s`, from v = v0 and n = 0.

    Args:
        theta: Firing threshold; broadcasts to `shape`, as the others do.
        theta_neg: Negative spikes fire strictly below it.
        v0: Initial potential.
        bias: Current added in every step.
        free: Let the net count go below 0: the neuron relays a signed value.
        given: See `Layer`.
    """

    def __init__(
        self,
        *,
        theta: Any,
        theta_neg: Any,
        v0: Any = 0,
        bias: Any = 0,
        free: bool = False,
        **given: Any,
    ) -> None:
        super().__init__(free=free, **given)
        shape = given["shape"]
        self.theta = Var(shape=shape, init=theta)
        self.theta_neg = Var(shape=shape, init=theta_neg)
        self.bias = Var(shape=shape, init=bias)
        self.v0 = Var(shape=shape, init=v0)
        self.v = Var(shape=shape, init=v0)
        self.n = Var(shape=shape, init=0)


class IntegrateSignedModel(LayerModel):
    """The neuron's rule, for both arithmetics."""

    theta: NDArray[Any]
    theta_neg: NDArray[Any]
    bias: NDArray[Any]
    v0: NDArray[Any]
    n: NDArray[Any]

    def __init__(self, proc_params: Any) -> None:
        super().__init__(proc_params)
        self.free = proc_params["free"]

    def begin(self) -> None:
        """Forget the sample before."""
        self.v[:] = self.v0
        self.n[:] = 0

    def advance(self, current: NDArray[Any]) -> NDArray[Any]:
        """Integrate, fire either sign, reset by theta, count."""
        self.integrate(current, self.bias)
        negative = self.v < self.theta_neg
        if not self.free:
            negative &= self.n > 0
        spikes = (self.v >= self.theta).astype(np.int8) - negative.astype(np.int8)
        self.v -= self.theta * spikes
        self.n += spikes
        return spikes


@implements(proc=IntegrateSigned, protocol=LoihiProtocol)
@requires(CPU)
@tag("fixed_pt")
class PyIntegrateSignedFixed(FixedPoint, IntegrateSignedModel):
    """Exact 24-bit integers."""

    theta = FIXED
    theta_neg = FIXED
    bias = FIXED
    v0 = FIXED
    n = FIXED


@implements(proc=IntegrateSigned, protocol=LoihiProtocol)
@requires(CPU)
@tag("floating_pt")
class PyIntegrateSignedFloat(FloatingPoint, IntegrateSignedModel):
    """Floating point."""

    theta = FLOAT
    theta_neg = FLOAT
    bias = FLOAT
    v0 = FLOAT
    n = FLOAT
