# mypy: allow-subclassing-any, disable-error-code="import-not-found,no-any-return"
"""Neuron of the radix code: spikes are binary digits, the most significant one first."""

from __future__ import annotations

from typing import Any

import numpy as np
from lava.magma.core.decorator import implements, requires, tag
from lava.magma.core.resources import CPU
from lava.magma.core.sync.protocols.loihi_protocol import LoihiProtocol
from neurons.window import FixedWindow, FloatWindow, WindowModel, WindowNeuron
from numpy.typing import NDArray


class IntegrateRadix(WindowNeuron):
    """Gathers `u = 2 u + I + bias`, then sends the digits of `(u + v0) / theta`.

    In step t from 0 of T: `s = 1 if v >= theta 2^(T-1-t) else 0`, with `free` also `-1` where
    `v <= -theta 2^(T-1-t)`; `v -= theta 2^(T-1-t) s`. With `free` v0 joins u on its side of 0.

    Args:
        free: Send the digits of negative values, too.
        given: See `WindowNeuron`.
    """

    def __init__(self, *, free: bool = False, **given: Any) -> None:
        super().__init__(free=free, **given)


class IntegrateRadixModel(WindowModel):
    """The neuron's rule, for both arithmetics."""

    def __init__(self, proc_params: Any) -> None:
        super().__init__(proc_params)
        self.free = proc_params["free"]

    def gather(self, current: NDArray[Any]) -> None:
        """Double what came before."""
        self.u += self.u
        super().gather(current)

    def gathered(self) -> NDArray[Any]:
        """The sum; v0 joins it on the side of 0 that it lies on."""
        if not self.free:
            return super().gathered()
        return np.where(self.u < 0, self.u - self.v0, self.u + self.v0)

    def amount(self, spikes: NDArray[Any]) -> NDArray[Any]:
        """What the digit of the step is worth; wider than the potential where it is not reached."""
        digit = 1 << (self.steps - 1 - self.now % self.steps)
        return np.multiply(self.theta, digit * spikes.astype(self.u.dtype), dtype=self.u.dtype)

    def sent(self) -> NDArray[Any]:
        """The digit of the step."""
        unit = self.amount(np.ones(self.shape))
        spikes = (self.v >= unit).astype(np.int8)
        if self.free:
            spikes -= self.v <= -unit
        return spikes


@implements(proc=IntegrateRadix, protocol=LoihiProtocol)
@requires(CPU)
@tag("fixed_pt")
class PyIntegrateRadixFixed(FixedWindow, IntegrateRadixModel):
    """Exact 24-bit integers."""


@implements(proc=IntegrateRadix, protocol=LoihiProtocol)
@requires(CPU)
@tag("floating_pt")
class PyIntegrateRadixFloat(FloatWindow, IntegrateRadixModel):
    """Floating point."""
