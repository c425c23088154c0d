"""Max pooling of spike trains by the running-count maximum."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import reduce

import numpy as np

from spikec.ir.op import Interval, Params, Stateful, Value, expect, steps_of
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

    def infer(
        self, inputs: Sequence[TensorType], params: Mapping[str, TensorType]
    ) -> tuple[int, ...]:
        shape = Pooling.infer(self, inputs, params)
        inside = self.window.meets(inputs[0].shape[1:])
        expect(inside, "a window holds pads alone, which never win")
        return shape

    def payload_type(self, inputs: Sequence[TensorType]) -> DType:
        """As that of what is pooled."""
        return inputs[0].dtype if inputs[0].dtype.is_spike else SPIKE

    def scan(self, inputs: Sequence[Value], params: Params, steps: int) -> tuple[Value, Value]:
        x = steps_of(inputs[0], steps)
        counts = np.cumsum(x, axis=0, dtype=x.dtype if x.dtype.itemsize == 8 else np.int32)
        best = self.largest(counts)
        spikes = np.diff(best, axis=0, prepend=np.zeros_like(best[:1]))
        dtype = inputs[0].dtype
        return spikes.astype(dtype), best.astype(dtype) if dtype.kind == "f" else best

    def largest(self, numbers: Value) -> Value:
        """The largest number of each window, of (steps, batch, *shape)."""
        flat = numbers.reshape(-1, *numbers.shape[2:])
        lowest = numbers.min() - 1 if any(self.pads) else 0
        best = reduce(np.maximum, self.window.taps(flat, fill=lowest))
        return best.reshape(*numbers.shape[:2], *best.shape[1:])

    def potential_bounds(
        self, single: Interval, mean: Interval, params: Params, steps: int
    ) -> Interval | None:
        return mean[0].min() * steps, mean[1].max() * steps
