# mypy: allow-subclassing-any, disable-error-code="import-not-found,no-any-return"
"""What the neurons share: threshold, bias, initial potential and, for signed ones, a net sum."""

from __future__ import annotations

from typing import Any

from lava.magma.core.process.variable import Var
from neurons.layer import FIXED, FLOAT, FixedPoint, FloatingPoint, Layer, LayerModel
from numpy.typing import NDArray


class Neuron(Layer):
    """Base of the neurons: `v += I + bias`, from v = v0.

    Args:
        theta: What a spike takes from v; broadcasts to `shape`, as the others do.
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


class NeuronModel(LayerModel):
    """Base of their models; a subclass says what is `sent`."""

    theta: NDArray[Any]
    bias: NDArray[Any]
    v0: NDArray[Any]

    def begin(self) -> None:
        """Forget the sample before."""
        self.v[:] = self.v0

    def arrive(self, current: NDArray[Any]) -> None:
        """Take the current of a step in which it may fire."""
        self.integrate(current, self.bias)

    def sent(self) -> NDArray[Any]:
        """What is sent at the potential v."""
        raise NotImplementedError

    def amount(self, spikes: NDArray[Any]) -> NDArray[Any]:
        """What spikes take from v."""
        return self.theta * spikes

    def advance(self, current: NDArray[Any]) -> NDArray[Any]:
        """Integrate, fire, take what was fired from v, which has to fit its width after that."""
        self.arrive(current)
        spikes = self.sent()
        self.v -= self.amount(spikes)
        self.check("potential", self.v)
        return spikes


class SignedNeuron(Neuron):
    """Base of the neurons that take spikes back: n is the net sum of what they sent.

    Args:
        free: Let the net sum go below 0: the neuron relays a signed value.
        given: See `Neuron`.
    """

    def __init__(self, *, free: bool = False, **given: Any) -> None:
        super().__init__(free=free, **given)
        self.n = Var(shape=given["shape"], init=0)


class SignedNeuronModel(NeuronModel):
    """Base of their models; what is `sent` depends on n as well."""

    n: NDArray[Any]

    def __init__(self, proc_params: Any) -> None:
        super().__init__(proc_params)
        self.free = proc_params["free"]

    def begin(self) -> None:
        """Forget the sample before."""
        super().begin()
        self.n[:] = 0

    def advance(self, current: NDArray[Any]) -> NDArray[Any]:
        """As other neurons, and sum up."""
        spikes = super().advance(current)
        self.n += spikes
        return spikes


class FixedNeuron(FixedPoint):
    """Exact 24-bit integers."""

    theta = FIXED
    bias = FIXED
    v0 = FIXED


class FloatNeuron(FloatingPoint):
    """Floating point."""

    theta = FLOAT
    bias = FLOAT
    v0 = FLOAT
