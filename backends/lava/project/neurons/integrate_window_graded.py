# mypy: allow-subclassing-any, disable-error-code="import-not-found,no-any-return"
"""Neuron of the layerwise schedule whose spikes carry powers of two."""

from __future__ import annotations

from lava.magma.core.decorator import implements, requires, tag
from lava.magma.core.resources import CPU
from lava.magma.core.sync.protocols.loihi_protocol import LoihiProtocol
from neurons.integrate_graded import IntegrateGraded, IntegrateGradedModel
from neurons.layer import FIXED, FLOAT
from neurons.window import FixedWindow, FloatWindow, WindowModel, WindowNeuron


class IntegrateWindowGraded(WindowNeuron, IntegrateGraded):
    """Gathers a window, then sends payloads as `IntegrateGraded` does; see `WindowNeuron`."""


class IntegrateWindowGradedModel(WindowModel, IntegrateGradedModel):
    """The neuron's rule, for both arithmetics."""


@implements(proc=IntegrateWindowGraded, protocol=LoihiProtocol)
@requires(CPU)
@tag("fixed_pt")
class PyIntegrateWindowGradedFixed(FixedWindow, IntegrateWindowGradedModel):
    """Exact 24-bit integers."""

    fire = FIXED
    n = FIXED


@implements(proc=IntegrateWindowGraded, protocol=LoihiProtocol)
@requires(CPU)
@tag("floating_pt")
class PyIntegrateWindowGradedFloat(FloatWindow, IntegrateWindowGradedModel):
    """Floating point."""

    fire = FLOAT
    n = FLOAT
