# mypy: allow-subclassing-any, disable-error-code="import-not-found,no-any-return"
"""Max pooling of binary digits."""

from __future__ import annotations

from typing import Any

from lava.magma.core.decorator import implements, requires, tag
from lava.magma.core.resources import CPU
from lava.magma.core.sync.protocols.loihi_protocol import LoihiProtocol
from neurons.layer import FixedPoint, FloatingPoint
from neurons.max_pool_count import MaxPoolCount, MaxPoolCountModel
from numpy.typing import NDArray


class MaxPoolRadix(MaxPoolCount):
    """`s[t] = max_i N_i[t] - 2 max_i N_i[t-1]`, where `N_i[t] = 2 N_i[t-1] + s_i[t]`.

    The numbers that binary digits spell so far, most significant first; see `MaxPoolCount`.
    """


class MaxPoolRadixModel(MaxPoolCountModel):
    """The pooling rule, for both arithmetics."""

    def advance(self, current: NDArray[Any]) -> NDArray[Any]:
        """Double what came before."""
        self.counts += self.counts
        self.v += self.v
        return super().advance(current)


@implements(proc=MaxPoolRadix, protocol=LoihiProtocol)
@requires(CPU)
@tag("fixed_pt")
class PyMaxPoolRadixFixed(FixedPoint, MaxPoolRadixModel):
    """Exact 24-bit integers."""

    counts = FixedPoint.v


@implements(proc=MaxPoolRadix, protocol=LoihiProtocol)
@requires(CPU)
@tag("floating_pt")
class PyMaxPoolRadixFloat(FloatingPoint, MaxPoolRadixModel):
    """Floating point."""

    counts = FloatingPoint.v
