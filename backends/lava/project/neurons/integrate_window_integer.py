# mypy: allow-subclassing-any, disable-error-code="import-not-found,no-any-return"
"""Neuron of the layerwise schedule whose spikes carry integers."""

from __future__ import annotations

from typing import Any

from lava.magma.core.decorator import implements, requires, tag
from lava.magma.core.resources import CPU
from lava.magma.core.sync.protocols.loihi_protocol import LoihiProtocol
from neurons.integrate_integer import IntegrateInteger, IntegrateIntegerModel
from neurons.layer import FIXED, FLOAT
from neurons.window import FixedWindow, FloatWindow, WindowModel, WindowNeuron


class IntegrateWindowInteger(WindowNeuron, IntegrateInteger):
    """Gathers a window, then sends `p = clip(floor(v / theta), low, high)`; `v -= theta p`.

    Nothing is taken back: without `free` low is 0. See `WindowNeuron` and `IntegrateInteger`.
    """


class IntegrateWindowIntegerModel(WindowModel, IntegrateIntegerModel):
    """The neuron's rule, for both arithmetics."""

    def least(self) -> Any:
        """The smallest payload."""
        return -1 - self.most if self.free else 0


@implements(proc=IntegrateWindowInteger, protocol=LoihiProtocol)
@requires(CPU)
@tag("fixed_pt")
class PyIntegrateWindowIntegerFixed(FixedWindow, IntegrateWindowIntegerModel):
    """Exact 24-bit integers."""

    n = FIXED


@implements(proc=IntegrateWindowInteger, protocol=LoihiProtocol)
@requires(CPU)
@tag("floating_pt")
class PyIntegrateWindowIntegerFloat(FloatWindow, IntegrateWindowIntegerModel):
    """Floating point."""

    n = FLOAT
