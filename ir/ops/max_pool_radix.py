"""Max pooling of binary digits."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from spikec.ir.neuron import total_weight
from spikec.ir.op import Interval, Params, Value, steps_of
from spikec.ir.ops.max_pool_count import MaxPoolCount
from spikec.ir.types import SPIKE, DType, TensorType


@dataclass(frozen=True, slots=True)
class MaxPoolRadix(MaxPoolCount):
    """`s[t] = max_i N_i[t] - 2 max_i N_i[t-1]`, where `N_i[t] = 2 N_i[t-1] + s_i[t]`.

    The numbers N that the digits of the window's trains spell so far, the most significant digit
    first: their maximum is spelled digit by digit as they arrive. Digits stay -1, 0 and 1, because
    the number that led before reaches at least twice its value less 1. The potential is the
    running maximum.
    """

    title = "max pooling of binary digits"
    radix = True

    def payload_type(self, inputs: Sequence[TensorType]) -> DType:
        return SPIKE

    def scan(self, inputs: Sequence[Value], params: Params, steps: int) -> tuple[Value, Value]:
        digits = steps_of(inputs[0], steps)
        kind = object if digits.dtype == object else np.int64
        numbers = np.empty(digits.shape, kind)
        before = np.zeros(digits.shape[1:], kind)
        for t, digit in enumerate(digits):
            before = numbers[t] = 2 * before + digit.astype(kind)
        best = self.largest(numbers)
        earlier = np.concatenate([np.zeros_like(best[:1]), best[:-1]])
        spikes, dtype = best - 2 * earlier, digits.dtype
        return spikes.astype(dtype), best.astype(dtype) if dtype.kind == "f" else best

    def potential_bounds(
        self, single: Interval, mean: Interval, params: Params, steps: int
    ) -> Interval | None:
        weight = total_weight(steps, radix=True)
        return mean[0].min() * weight, mean[1].max() * weight
