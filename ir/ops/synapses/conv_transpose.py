"""Transposed convolution."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any

import numpy as np

from spikec.ir.exact import wide
from spikec.ir.op import EXPONENT, Params, ParamSpec, Synapse, Value, expect
from spikec.ir.types import TensorType
from spikec.ir.windows import WIDEST, Sliding, Window, exact_matmul


@dataclass(frozen=True, slots=True)
class ConvTranspose(Sliding, Synapse):
    """`y[stride * i + dilation * k - pad] += w[k] x[i]`, plus b (ONNX ConvTranspose).

    x: (channels, *spatial); w: (channels, out / groups, *kernel); b: (out,). Pads crop the result.
    """

    extra: Annotated[tuple[int, ...], "elements added at the end of the result, per spatial axis"]
    groups: Annotated[int, "channel groups"] = 1

    params = {
        "w": ParamSpec("weights", "weight"),
        "b": ParamSpec("bias", "current", required=False),
        "exponent": EXPONENT,
    }

    def infer(
        self, inputs: Sequence[TensorType], params: Mapping[str, TensorType]
    ) -> tuple[int, ...]:
        x, w, groups = inputs[0].shape, params["w"].shape, self.groups
        expect(len(w) >= 3 and len(x) == len(w) - 1, f"weights {list(w)} do not fit {list(x)}")
        expect(groups > 0 and x[0] % groups == 0, f"{x[0]} channels in {groups} groups")
        expect(x[0] == w[0], f"{x[0]} channels, but weights {list(w)}")
        out = w[1] * groups
        expect("b" not in params or params["b"].shape == (out,), "bias must be (out channels,)")
        self.expect_exponent(params, (out,))
        extra = self.extra
        expect(len(extra) == len(w) - 2 and min(extra) >= 0, "extra does not fit the window")
        return (out, *_spread_out(self.window(w[2:]), x[1:], extra, cropped=True))

    def run(self, inputs: Sequence[Value], params: Params) -> Value:
        x, w, groups = inputs[0], params["w"], self.groups
        window, extra = self.window(w.shape[2:]), self.extra
        whole = _spread_out(window, x.shape[2:], extra, cropped=False)
        y = np.zeros((len(x), w.shape[1] * groups, *whole), wide(x[:0]).dtype)
        columns = x.reshape(len(x), groups, -1, math.prod(x.shape[2:]))
        weights = w.reshape(groups, w.shape[0] // groups, w.shape[1], -1)
        for index, tap in enumerate(np.ndindex(*window.kernel)):
            part = exact_matmul(weights[..., index].swapaxes(1, 2), columns)
            target: tuple[Any, ...] = tuple(
                slice(t * d, t * d + s * (n - 1) + 1, s)
                for t, d, s, n in zip(
                    tap, window.dilations, window.strides, x.shape[2:], strict=True
                )
            )
            y[(..., *target)] += part.reshape(len(x), -1, *x.shape[2:])
        rank = len(whole)
        ends = (size - pad for size, pad in zip(whole, window.pads[rank:], strict=True))
        kept: list[Any] = [slice(b, e) for b, e in zip(window.pads[:rank], ends, strict=True)]
        y = y[(..., *kept)]
        return self.finished(y, params)

    def scale_inputs(self, w: Value, factor: Value) -> Value:
        return w * factor.reshape(-1, *(1,) * (w.ndim - 1))

    def scale_outputs(self, w: Value, factor: Value) -> Value:
        groups = self.groups
        side = np.repeat(factor.reshape(groups, -1), len(w) // groups, axis=0)
        return w * side.reshape(*w.shape[:2], *(1,) * (w.ndim - 2))

    def by_output(self, w: Value) -> Value:
        groups = self.groups
        by_group = w.reshape(groups, len(w) // groups, w.shape[1], -1).swapaxes(1, 2)
        return by_group.reshape(groups * w.shape[1], -1)

    def fan_out(self, shape: tuple[int, ...], w: Value) -> Value:
        window, extra = self.window(w.shape[2:]), self.extra
        out = _spread_out(window, shape[1:], extra, cropped=True)
        nonzero = (w != 0).reshape(len(w), w.shape[1], -1).sum(axis=1)
        total = np.zeros(shape, np.int64)
        for tap, column in zip(np.ndindex(*window.kernel), nonzero.T, strict=True):
            kept = np.ones((), bool)
            for i, size in enumerate(shape[1:]):
                at = window.strides[i] * np.arange(size) + window.dilations[i] * tap[i]
                at = at - window.pads[i]
                kept = kept[..., None] & (at >= 0) & (at < out[i])
            total += column.reshape(-1, *(1,) * kept.ndim) * kept
        return total

    def synaptic_operations(
        self, inputs: Sequence[TensorType], params: Mapping[str, TensorType]
    ) -> int:
        return params["w"].size * math.prod(inputs[0].shape[1:])


def _spread_out(
    window: Window, spatial: Sequence[int], extra: Sequence[int], *, cropped: bool
) -> tuple[int, ...]:
    """Spatial shape of the result, before or after the pads crop it."""
    rank = len(window.kernel)
    crops = window.pads if cropped else (0,) * (2 * rank)
    out = tuple(
        window.strides[i] * (size - 1)
        + window.dilations[i] * (window.kernel[i] - 1)
        + 1
        + extra[i]
        - crops[i]
        - crops[i + rank]
        for i, size in enumerate(spatial)
    )
    expect(min(out, default=1) > 0, f"pads crop the whole result of {list(spatial)}")
    expect(math.prod(out) < WIDEST, f"{math.prod(out)} places, not below 2^31")
    return out
