"""What the neuron ops share: their params and the state they start from."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import Enum

import numpy as np

from spikec.ir.op import UNITS, Params, ParamSpec, Stateful, Value, expect_spread
from spikec.ir.types import TensorType, spread

NEURON_PARAMS = {
    "theta": ParamSpec("firing threshold, above 0"),
    "v0": ParamSpec("initial membrane potential"),
    "bias": ParamSpec("current added in every step", required=False),
    "scale": UNITS,
}


class Sign(Enum):
    """Which spikes a neuron sends."""

    UNSIGNED = "positive ones"
    TAKES_BACK = "negative ones too, but never more than positive ones before"
    FREE = "positive and negative ones in any order"


@dataclass(frozen=True, slots=True)
class Neuron(Stateful):
    """Base of the neuron ops: params per tensor, per channel or per neuron."""

    params = NEURON_PARAMS
    result = "spike"
    neuron = True

    @property
    @abstractmethod
    def sign(self) -> Sign:
        """Which spikes it sends."""

    def infer(
        self, inputs: Sequence[TensorType], params: Mapping[str, TensorType]
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
