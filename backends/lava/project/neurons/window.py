# mypy: allow-subclassing-any, disable-error-code="import-not-found,no-any-return"
"""What the neurons of the layerwise schedule share: a window of input, then one of output."""

from __future__ import annotations

from typing import Any

import numpy as np
from lava.magma.core.model.py.type import LavaPyType
from lava.magma.core.process.variable import Var
from neurons.layer import FLOAT
from neurons.neuron import FixedNeuron, FloatNeuron, Neuron, NeuronModel
from numpy.typing import NDArray


class WindowNeuron(Neuron):
    """Base of neurons with `u = sum of (I + bias)` over a sample's steps, which send in the next.

    They fire in as many steps, from v = u + v0. While they fire for one sample, the sum u of the
    next one gathers.

    Args:
        given: See `Neuron`.
    """

    def __init__(self, **given: Any) -> None:
        super().__init__(**given)
        self.u = Var(shape=given["shape"], init=0)


class WindowModel(NeuronModel):
    """Base of their models, before that of a neuron that fires by the same rule at once."""

    u: NDArray[Any]

    def __init__(self, proc_params: Any) -> None:
        super().__init__(proc_params)
        self.lag = self.steps

    def gather(self, current: NDArray[Any]) -> None:
        """Add one step's current to the sum."""
        self.check("current", current)
        self.u += current
        self.u += self.bias

    def gathered(self) -> NDArray[Any]:
        """The potential of a window that is full."""
        return self.u + self.v0

    def begin(self) -> None:
        """Fire for the sample that has gathered; start the next sum."""
        super().begin()
        start = self.gathered()
        self.check("potential", start)
        self.v[:] = start
        self.u[:] = 0

    def arrive(self, current: NDArray[Any]) -> None:
        """What arrives belongs to the next sample."""


class FixedWindow(FixedNeuron):
    """Exact 24-bit integers; sums on the way may be wider."""

    u = LavaPyType(np.ndarray, np.int64)


class FloatWindow(FloatNeuron):
    """Floating point."""

    u = FLOAT
