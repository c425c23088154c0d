"""Zeros around a value."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated

import numpy as np

from spikec.ir.op import Gradients, Op, Params, Value, expect
from spikec.ir.types import TensorType


@dataclass(frozen=True, slots=True)
class Pad(Op):
    """The value with zeros before and after it on every axis."""

    pads: Annotated[tuple[int, ...], "zeros added: first all begins, then all ends, per axis"]

    result = "same"
    linear = True

    def infer(
        self, inputs: Sequence[TensorType], params: Mapping[str, TensorType]
    ) -> tuple[int, ...]:
        x, pads = inputs[0].shape, self.pads
        expect(len(pads) == 2 * len(x), f"{len(pads)} pads do not fit {len(x)} axes")
        expect(min(pads, default=0) >= 0, "pads must not be negative")
        begins, ends = pads[: len(x)], pads[len(x) :]
        return tuple(b + size + e for b, size, e in zip(begins, x, ends, strict=True))

    def run(self, inputs: Sequence[Value], params: Params) -> Value:
        pads = self.pads
        rank = len(pads) // 2
        return np.pad(inputs[0], [(0, 0), *zip(pads[:rank], pads[rank:], strict=True)])

    def backward(self, gradient: Value, inputs: Sequence[Value], params: Params) -> Gradients:
        inside = zip(self.pads, inputs[0].shape[1:], strict=False)
        return [gradient[(slice(None), *(slice(begin, begin + n) for begin, n in inside))]], {}
