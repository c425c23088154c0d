# mypy: allow-subclassing-any, disable-error-code="import-not-found,no-any-return"
"""Readout."""

from __future__ import annotations

from typing import Any

import numpy as np
from lava.magma.core.decorator import implements, requires, tag
from lava.magma.core.process.variable import Var
from lava.magma.core.resources import CPU
from lava.magma.core.sync.protocols.loihi_protocol import LoihiProtocol
from neurons.layer import FIXED, FLOAT, FixedPoint, FloatingPoint, Layer, LayerModel
from numpy.typing import NDArray


class Accumulate(Layer):
    """`v += I + bias` from v = 0: never fires, is reset between samples only.

    Args:
        bias: Current added in every step; broadcasts to `shape`.
        given: See `Layer`.
    """

    def __init__(self, *, bias: Any = 0, **given: Any) -> None:
        super().__init__(**given)
        self.bias = Var(shape=given["shape"], init=bias)
        self.v = Var(shape=given["shape"], init=0)


class AccumulateModel(LayerModel):
    """The readout's rule, for both arithmetics."""

    bias: NDArray[Any]

    def begin(self) -> None:
        """Forget the sample before."""
        self.v[:] = 0

    def advance(self, current: NDArray[Any]) -> NDArray[Any]:
        """Integrate; no spikes."""
        self.integrate(current, self.bias)
        return np.zeros(self.shape, np.int8)


@implements(proc=Accumulate, protocol=LoihiProtocol)
@requires(CPU)
@tag("fixed_pt")
class PyAccumulateFixed(FixedPoint, AccumulateModel):
    """Exact 24-bit integers."""

    bias = FIXED


@implements(proc=Accumulate, protocol=LoihiProtocol)
@requires(CPU)
@tag("floating_pt")
class PyAccumulateFloat(FloatingPoint, AccumulateModel):
    """Floating point."""

    bias = FLOAT
