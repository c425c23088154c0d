# mypy: disable-error-code="import-not-found"
"""Neuron layers as Lava processes, each with a floating point and a fixed point model.

Lava executes every module beside a process of one's own, so this package holds nothing else.
"""

from neurons.accumulate import Accumulate
from neurons.accumulate_radix import AccumulateRadix
from neurons.integrate import Integrate
from neurons.integrate_graded import IntegrateGraded
from neurons.integrate_integer import IntegrateInteger
from neurons.integrate_radix import IntegrateRadix
from neurons.integrate_signed import IntegrateSigned
from neurons.integrate_window import IntegrateWindow
from neurons.integrate_window_graded import IntegrateWindowGraded
from neurons.integrate_window_integer import IntegrateWindowInteger
from neurons.layer import Layer
from neurons.max_pool_count import MaxPoolCount
from neurons.max_pool_radix import MaxPoolRadix
from neurons.probe import Probe
from neurons.source import Source

__all__ = [
    "Accumulate",
    "AccumulateRadix",
    "Integrate",
    "IntegrateGraded",
    "IntegrateInteger",
    "IntegrateRadix",
    "IntegrateSigned",
    "IntegrateWindow",
    "IntegrateWindowGraded",
    "IntegrateWindowInteger",
    "Layer",
    "MaxPoolCount",
    "MaxPoolRadix",
    "Probe",
    "Source",
]
