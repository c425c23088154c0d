"""Max pooling of spike trains by the running-count maximum."""

from collections.abc import Mapping, Sequence
from functools import reduce

import numpy as np

from spikec.ir.op import PLACEMENT, Attrs, Op, Params, Value
from spikec.ir.types import TensorType
from spikec.ir.windows import POOL, window_of


class MaxPoolCount(Op):
    """`s[t] = max_i N_i[t] - max_i N_i[t-1]` over the window's net spike counts N.

    Counts change by at most one per step, so the output is again a signed spike, and its sum is
    exactly the maximum of the counts. Pads hold no neurons and never win. The potential is the
    running maximum. Of graded spikes N is the net sum of payloads: the maximum changes by at most
    the largest payload, but by any integer up to it, not only by powers of two.
    """

    stages = ("snn", "int")
    attrs = {**POOL, **PLACEMENT}
    result = "spike"
    stateful = True

    def infer(
        self, inputs: Sequence[TensorType], attrs: Attrs, params: Mapping[str, TensorType]
    ) -> tuple[int, ...]:
        x = inputs[0].shape
        return (x[0], *window_of(attrs).output(x[1:]))

    def payload_levels(self, inputs: Sequence[TensorType], attrs: Attrs) -> int:
        """As those of what is pooled."""
        dtype = inputs[0].dtype
        return dtype.levels if dtype.is_graded else 1

    def scan(
        self, inputs: Sequence[Value], attrs: Attrs, params: Params, steps: int
    ) -> tuple[Value, Value]:
        counts = np.cumsum(inputs[0], axis=0, dtype=np.int32)
        flat = counts.reshape(-1, *counts.shape[2:])
        lowest = -(1 << 30)
        best = reduce(np.maximum, window_of(attrs).taps(flat, fill=lowest))
        best = best.reshape(*counts.shape[:2], *best.shape[1:])
        spikes = np.diff(best, axis=0, prepend=np.zeros_like(best[:1]))
        dtype = inputs[0].dtype
        return spikes.astype(dtype), best.astype(dtype) if dtype.kind == "f" else best
