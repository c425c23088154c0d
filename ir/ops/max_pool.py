"""Maxima over windows."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import reduce

import numpy as np

from spikec.ir.op import Params, Value
from spikec.ir.windows import Pooling


@dataclass(frozen=True, slots=True)
class MaxPool(Pooling):
    """`y[c, i] = max over the window of x[c, .]`; pads never win. Stage ann only."""

    stages = ("ann",)

    def run(self, inputs: Sequence[Value], params: Params) -> Value:
        return reduce(np.maximum, self.window.taps(inputs[0], fill=-np.inf))
