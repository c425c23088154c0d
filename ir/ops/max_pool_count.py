"""Max pooling of spike trains by the running-count maximum."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import reduce

import numpy as np

from spikec.ir.op import Interval, Params, Stateful, Value
from spikec.ir.types import SPIKE, DType, TensorType
from spikec.ir.windows import Pooling


@dataclass(frozen=True, slots=True)
class MaxPoolCount(Pooling, Stateful):
    """`s[t] = max_i N_i[t] - max_i N_i[t-1]` over the window's net spike counts N.

    Counts change by at most one per step, so the output is again a signed spike, and its sum is
    exactly the maximum of the counts. Pads hold no neurons and never win. The potential is the
    running maximum. Of graded spikes N is the net sum of payloads: the maximum changes by at most
    the largest payload, but by any integer up to it, not only by powers of two.
    """

    title = "max pooling"
    result = "spike"

    def payload_type(self, inputs: Sequence[TensorType]) -> DType:
        """As that of what is pooled."""
        return inputs[0].dtype if inputs[0].dtype.is_spike else SPIKE

    def scan(self, inputs: Sequence[Value], params: Params, steps: int) -> tuple[Value, Value]:
        counts = np.cumsum(inputs[0], axis=0, dtype=np.int32)
        best = self.largest(counts)
        spikes = np.diff(best, axis=0, prepend=np.zeros_like(best[:1]))
        dtype = inputs[0].dtype
        return spikes.astype(dtype), best.astype(dtype) if dtype.kind == "f" else best

    def largest(self, numbers: Value) -> Value:
        """The largest number of each window, of (steps, batch, *shape)."""
        flat = numbers.reshape(-1, *numbers.shape[2:])
        best = reduce(np.maximum, self.window.taps(flat, fill=np.iinfo(numbers.dtype).min))
        return best.reshape(*numbers.shape[:2], *best.shape[1:])

    def potential_bounds(
        self, single: Interval, mean: Interval, params: Params, steps: int
    ) -> Interval | None:
        return mean[0].min() * steps, mean[1].max() * steps
