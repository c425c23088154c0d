# mypy: allow-subclassing-any, disable-error-code="import-not-found,no-any-return"
"""Neuron of the layerwise schedule: a window of input, then a window of output."""

from __future__ import annotations

from typing import Any

import numpy as np
from lava.magma.core.decorator import implements, requires, tag
from lava.magma.core.resources import CPU
from lava.magma.core.sync.protocols.loihi_protocol import LoihiProtocol
from neurons.window import FixedWindow, FloatWindow, WindowModel, WindowNeuron
from numpy.typing import NDArray


class IntegrateWindow(WindowNeuron):
    """`s = 1 if v >= theta else 0` (with `free` also `-1 if v < 0`); `v -= theta s`.

    Args:
        free: Fire negative spikes, too.
        given: See `WindowNeuron`.
    """

    def __init__(self, *, free: bool = False, **given: Any) -> None:
        super().__init__(free=free, **given)


class IntegrateWindowModel(WindowModel):
    """The neuron's rule, for both arithmetics."""

    def __init__(self, proc_params: Any) -> None:
        super().__init__(proc_params)
        self.free = proc_params["free"]

    def sent(self) -> NDArray[Any]:
        """Unit spikes."""
        spikes = (self.v >= self.theta).astype(np.int8)
        if self.free:
            spikes -= self.v < 0
        return spikes


@implements(proc=IntegrateWindow, protocol=LoihiProtocol)
@requires(CPU)
@tag("fixed_pt")
class PyIntegrateWindowFixed(FixedWindow, IntegrateWindowModel):
    """Exact 24-bit integers."""


@implements(proc=IntegrateWindow, protocol=LoihiProtocol)
@requires(CPU)
@tag("floating_pt")
class PyIntegrateWindowFloat(FloatWindow, IntegrateWindowModel):
    """Floating point."""
