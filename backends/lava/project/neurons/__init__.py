# mypy: disable-error-code="import-not-found"
"""Neuron layers as Lava processes, each with a floating point and a fixed point model.

Lava executes every module beside a process of one's own, so this package holds nothing else.
"""

from neurons.accumulate import Accumulate
from neurons.integrate import Integrate
from neurons.integrate_graded import IntegrateGraded
from neurons.integrate_signed import IntegrateSigned
from neurons.integrate_window import IntegrateWindow
from neurons.layer import Layer
from neurons.max_pool_count import MaxPoolCount
from neurons.probe import Probe
from neurons.source import Source

__all__ = ["Accumulate", "Integrate", "IntegrateGraded", "IntegrateSigned", "IntegrateWindow",
           "Layer", "MaxPoolCount", "Probe", "Source"]  # fmt: skip
