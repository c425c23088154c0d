"""Readout."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from spikec.ir.neuron import start
from spikec.ir.op import UNITS, Params, ParamSpec, Stateful, Value, expect_spread
from spikec.ir.types import TensorType


@dataclass(frozen=True, slots=True)
class Accumulate(Stateful):
    """`v += I + bias`: a readout that never fires and is never reset.

    The network's result after t steps is `v[t] * scale / t`.
    """

    params = {"bias": ParamSpec("current added in every step", required=False), "scale": UNITS}

    def infer(
        self, inputs: Sequence[TensorType], params: Mapping[str, TensorType]
    ) -> tuple[int, ...]:
        expect_spread(params, inputs[0].shape)
        return inputs[0].shape

    def scan(self, inputs: Sequence[Value], params: Params, steps: int) -> tuple[Value, Value]:
        current = inputs[0]
        p, v = start(current, params)
        potentials = np.empty((steps, *v.shape), v.dtype)
        for t in range(steps):
            v += current[min(t, len(current) - 1)] + p["bias"]
            potentials[t] = v
        return potentials, potentials
