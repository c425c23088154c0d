"""What the neuron ops share: their params and the state they start from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from spikec.ir.op import (
    PLACEMENT,
    UNITS,
    Attrs,
    Op,
    Params,
    ParamSpec,
    Value,
    expect_spread,
)
from spikec.ir.types import TensorType, spread

NEURON_PARAMS = {
    "theta": ParamSpec("firing threshold, above 0"),
    "v0": ParamSpec("initial membrane potential"),
    "bias": ParamSpec("current added in every step", required=False),
    "scale": UNITS,
}


class Neuron(Op):
    """Base of the neuron ops: params per tensor, per channel or per neuron."""

    stages = ("snn", "int")
    attrs = PLACEMENT
    params = NEURON_PARAMS
    result = "spike"
    neuron = True
    stateful = True

    def infer(
        self, inputs: Sequence[TensorType], attrs: Attrs, params: Mapping[str, TensorType]
    ) -> tuple[int, ...]:
        """Same shape as the current; every param must fit it."""
        expect_spread(params, inputs[0].shape)
        return inputs[0].shape


def start(current: Value, params: Params) -> tuple[dict[str, Value], Value]:
    """Params spread over the neurons (without units) and the potential before the first step.

    Args:
        current: (steps or 1, batch, *shape).
        params: The neuron's params.
    """
    shape = current.shape[2:]
    wide = current.dtype
    spreaded = {
        role: spread(array, shape).astype(wide) for role, array in params.items() if role != "scale"
    }
    spreaded.setdefault("bias", np.zeros((), wide))
    potential = np.empty(current.shape[1:], wide)
    potential[...] = spreaded.get("v0", 0)
    return spreaded, potential
