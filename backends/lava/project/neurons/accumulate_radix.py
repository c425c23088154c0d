# mypy: allow-subclassing-any, disable-error-code="import-not-found,no-any-return"
"""Readout of the radix code."""

from __future__ import annotations

from typing import Any

from lava.magma.core.decorator import implements, requires, tag
from lava.magma.core.resources import CPU
from lava.magma.core.sync.protocols.loihi_protocol import LoihiProtocol
from neurons.accumulate import Accumulate, AccumulateModel
from neurons.layer import FIXED, FLOAT, FixedPoint, FloatingPoint
from numpy.typing import NDArray


class AccumulateRadix(Accumulate):
    """`v = 2 v + I + bias` from v = 0: a readout of binary digits; see `Accumulate`."""


class AccumulateRadixModel(AccumulateModel):
    """The readout's rule, for both arithmetics."""

    def advance(self, current: NDArray[Any]) -> NDArray[Any]:
        """Double what came before."""
        self.v += self.v
        return super().advance(current)


@implements(proc=AccumulateRadix, protocol=LoihiProtocol)
@requires(CPU)
@tag("fixed_pt")
class PyAccumulateRadixFixed(FixedPoint, AccumulateRadixModel):
    """Exact 24-bit integers."""

    bias = FIXED


@implements(proc=AccumulateRadix, protocol=LoihiProtocol)
@requires(CPU)
@tag("floating_pt")
class PyAccumulateRadixFloat(FloatingPoint, AccumulateRadixModel):
    """Floating point."""

    bias = FLOAT
