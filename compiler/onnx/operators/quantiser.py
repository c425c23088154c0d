"""Uniform quantisers of the graph: one activation each, with the rectifiers around it inside."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from spikec.compiler.onnx.grid import spread_grid
from spikec.compiler.onnx.node import OnnxNode
from spikec.compiler.onnx.values import Constant, Grid, Tensor
from spikec.ir import Node
from spikec.ir.op import Attrs
from spikec.ir.ops.activations.clip import Clip
from spikec.ir.ops.activations.qcfs import Qcfs
from spikec.ir.ops.activations.quantize import Quantize
from spikec.ir.ops.activations.relu import Relu
from spikec.ir.ops.max_pool import MaxPool
from spikec.ir.ops.routing.concat import Concat
from spikec.ir.ops.routing.gather import Gather
from spikec.ir.ops.routing.pad import Pad
from spikec.ir.ops.routing.reshape import Reshape
from spikec.ir.ops.routing.slice import Slice
from spikec.ir.ops.routing.transpose import Transpose
from spikec.ir.ops.routing.upsample import Upsample

_ROUTES = (MaxPool, Reshape, Transpose, Slice, Gather, Upsample, Concat, Pad)
"""Ops that a quantiser of one scale may change places with."""


@dataclass(frozen=True, slots=True)
class _Quantiser:
    """`scale clip(round(x / scale), lo, hi)`.

    Attributes:
        lo: Smallest integer, at most 0.
        hi: Largest integer, above 0.
        scale: Distance of values, () or as a param is shaped.
        rounding: `even` or `floor`, as of the ops qcfs and quantize.
    """

    lo: int
    hi: int
    scale: Constant
    rounding: str

    @staticmethod
    def of(node: OnnxNode, made: Node) -> _Quantiser | None:
        """What a node of the graph quantises to, if it does."""
        op = made.operation
        if not isinstance(op, Qcfs | Quantize):
            return None
        role = "lambda" if isinstance(op, Qcfs) else "scale"
        array = np.asarray(node.builder.params[made.params[role]].array, np.float32)
        if isinstance(op, Quantize):
            return _Quantiser(op.lo, op.hi, array, op.rounding)
        return _Quantiser(0, op.levels, array / np.float32(op.levels), op.rounding)

    def emit(self, node: OnnxNode, x: Tensor) -> Tensor:
        """Quantise a value: `qcfs` where no value is negative, else `quantize`.

        Tools write one quantiser for each reader of a value; equal ones are one here.
        """
        key = (x.name, self.lo, self.hi, self.rounding, self.scale.tobytes())
        made = node.builder.quantised.get(key)
        if made is None:
            made = node.builder.quantised[key] = self._emit(node, x)
        return made

    def _emit(self, node: OnnxNode, x: Tensor) -> Tensor:
        if self.lo == 0:
            attrs: Attrs = {"levels": self.hi, "shift": 0.5, "rounding": self.rounding}
            return node.emit("qcfs", [x], attrs, {"lambda": self.scale * self.hi})
        bounds: Attrs = {"lo": self.lo, "hi": self.hi, "rounding": self.rounding}
        return node.emit("quantize", [x], bounds, {"scale": self.scale})

    def clipped(self, top: float) -> _Quantiser | None:
        """The quantiser of `clip(x, 0, top)`, None where that is no quantiser of the same scale."""
        with np.errstate(over="ignore"):
            highest = np.rint(top / self.scale)
        if (highest >= self.hi).all():
            return replace(self, lo=0)
        if self.scale.ndim or highest < 1 or self.rounding != "even":
            return None
        return replace(self, lo=0, hi=int(highest))

    def keeps(self, other: _Quantiser) -> bool:
        """Whether values of another quantiser pass through unchanged."""
        same = self.scale.ndim == 0 and np.allclose(self.scale, other.scale, rtol=1e-6, atol=0)
        return bool(same) and self.lo <= other.lo and other.hi <= self.hi


def quantised(
    node: OnnxNode, x: Tensor, grid: Grid, bounds: tuple[int, int], rounding: str = "even"
) -> Tensor:
    """`x` rounded to a grid and clipped to integers within bounds.

    Nothing is made where it is already so; a rectifier before it, with no more than routing or
    maxima in between, becomes part of it.
    """
    zeros = set(grid.zero)
    if len(zeros) > 1:
        node.refuse("its zero points differ between channels")
    zero = zeros.pop()
    lo, hi = bounds[0] - zero, bounds[1] - zero
    if lo > 0 or hi <= 0:
        node.refuse(f"integers {bounds[0]} to {bounds[1]} leave out the zero point {zero}")
    quantiser = _Quantiser(lo, hi, spread_grid(grid, len(x.shape))[0], rounding)
    if _is_merged(node, x.name, quantiser):
        return replace(x, name=_merged(node, x.name, quantiser).name, grid=grid)
    return replace(x, name=quantiser.emit(node, Tensor(x.name, x.shape)).name, grid=grid)


def _is_merged(node: OnnxNode, name: str, quantiser: _Quantiser) -> bool:
    """Whether a quantiser of a value is no more than rectifiers and quantisers before it."""
    source = node.builder.nodes[name]
    if isinstance(source.operation, _ROUTES) and quantiser.scale.ndim == 0:
        return all(_is_merged(node, earlier, quantiser) for earlier in source.inputs)
    before = _Quantiser.of(node, source)
    if before is not None and quantiser.keeps(before):
        return True
    rectifier = source.operation
    return isinstance(rectifier, Relu | Clip) and quantiser.clipped(_top(rectifier)) is not None


def _merged(node: OnnxNode, name: str, quantiser: _Quantiser) -> Tensor:
    """A value quantised, where `_is_merged` holds: routing and maxima come after the quantiser."""
    source = node.builder.nodes[name]
    if isinstance(source.operation, _ROUTES):
        values = [_merged(node, earlier, quantiser) for earlier in source.inputs]
        if [value.name for value in values] == list(source.inputs):
            return _value(node, name)
        return node.emit(source.op, values, source.operation.attributes())
    rectifier = source.operation
    if not isinstance(rectifier, Relu | Clip):
        return _value(node, name)
    merged = quantiser.clipped(_top(rectifier))
    assert merged is not None
    return merged.emit(node, _value(node, source.inputs[0]))


def _top(rectifier: Relu | Clip) -> float:
    return rectifier.hi if isinstance(rectifier, Clip) else np.inf


def _value(node: OnnxNode, name: str) -> Tensor:
    return Tensor(name, node.builder.nodes[name].type.shape)


def rectified(node: OnnxNode, x: Tensor, top: float) -> Tensor | None:
    """`clip(x, 0, top)` where x is quantised and the two are one quantiser."""
    source = node.builder.nodes[x.name]
    quantiser = _Quantiser.of(node, source)
    if quantiser is None or quantiser.lo == 0:
        return None
    exact = np.isinf(top) or np.allclose(np.rint(top / quantiser.scale) * quantiser.scale, top)
    merged = quantiser.clipped(top) if exact else None
    if merged is None:
        return None
    return replace(x, name=merged.emit(node, _value(node, source.inputs[0])).name)


def narrowed(node: OnnxNode, x: Tensor, lo: float, hi: float) -> Tensor:
    """A Clip of integers: the quantiser before it with tighter bounds."""
    source = node.builder.nodes[x.name]
    quantiser = _Quantiser.of(node, source)
    if quantiser is None or x.grid is None or len(set(x.grid.zero)) > 1:
        node.refuse("it clips integers that no quantiser before it made")
    zero, base = x.grid.zero[0], replace(x, name=source.inputs[0])
    bounds = int(max(quantiser.lo + zero, lo)), int(min(quantiser.hi + zero, hi))
    return quantised(node, base, x.grid, bounds, quantiser.rounding)


def clipped_below(node: OnnxNode, x: Tensor) -> Tensor:
    """An output whose quantiser is asymmetric, from its smallest value up.

    A signed neuron counts as far down as up; counted from the lower bound, both bounds hold.
    """
    source = node.builder.nodes[x.name]
    quantiser = _Quantiser.of(node, source)
    if quantiser is None or quantiser.lo == 0 or abs(quantiser.lo + quantiser.hi) <= 1:
        return x
    lowest = quantiser.lo * quantiser.scale
    base = _value(node, source.inputs[0])
    lifted = node.emit("affine", [base], params={"w": np.ones(()), "b": -lowest})
    levels = replace(quantiser, lo=0, hi=quantiser.hi - quantiser.lo).emit(node, lifted)
    y = node.emit("affine", [levels], params={"w": np.ones(()), "b": lowest})
    return replace(x, name=y.name)
