# mypy: allow-subclassing-any, disable-error-code="import-not-found,no-any-return"
"""Integrate-and-fire with soft reset."""

from __future__ import annotations

from typing import Any

from lava.magma.core.decorator import implements, requires, tag
from lava.magma.core.process.variable import Var
from lava.magma.core.resources import CPU
from lava.magma.core.sync.protocols.loihi_protocol import LoihiProtocol
from neurons.layer import FIXED, FLOAT, FixedPoint, FloatingPoint, Layer, LayerModel
from numpy.typing import NDArray


class Integrate(Layer):
    """`v += I + bias; s = 1 if v >= theta else 0; v -= theta * s`, from v = v0.

    Args:
        theta: Firing threshold; broadcasts to `shape`, as the others do.
        v0: Initial potential.
        bias: Current added in every step.
        given: See `Layer`.
    """

    def __init__(self, *, theta: Any, v0: Any = 0, bias: Any = 0, **given: Any) -> None:
        super().__init__(**given)
        shape = given["shape"]
        self.theta = Var(shape=shape, init=theta)
        self.bias = Var(shape=shape, init=bias)
        self.v0 = Var(shape=shape, init=v0)
        self.v = Var(shape=shape, init=v0)


class IntegrateModel(LayerModel):
    """The neuron's rule, for both arithmetics."""

    theta: NDArray[Any]
    bias: NDArray[Any]
    v0: NDArray[Any]

    def begin(self) -> None:
        """Forget the sample before."""
        self.v[:] = self.v0

    def advance(self, current: NDArray[Any]) -> NDArray[Any]:
        """Integrate, fire, subtract the threshold where fired."""
        self.integrate(current, self.bias)
        spikes = self.v >= self.theta
        self.v -= self.theta * spikes
        return spikes


@implements(proc=Integrate, protocol=LoihiProtocol)
@requires(CPU)
@tag("fixed_pt")
class PyIntegrateFixed(FixedPoint, IntegrateModel):
    """Exact 24-bit integers."""

    theta = FIXED
    bias = FIXED
    v0 = FIXED


@implements(proc=Integrate, protocol=LoihiProtocol)
@requires(CPU)
@tag("floating_pt")
class PyIntegrateFloat(FloatingPoint, IntegrateModel):
    """Floating point."""

    theta = FLOAT
    bias = FLOAT
    v0 = FLOAT
