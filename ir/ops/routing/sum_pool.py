"""Sums over windows: the linear part of average pooling."""

from collections.abc import Sequence
from dataclasses import dataclass

from spikec.ir.op import Params, Value
from spikec.ir.windows import Pooling


@dataclass(frozen=True, slots=True)
class SumPool(Pooling):
    """`y[c, i] = sum over the window of x[c, .]`; x: (channels, *spatial)."""

    linear = True

    def run(self, inputs: Sequence[Value], params: Params) -> Value:
        return self.sums(inputs[0])
