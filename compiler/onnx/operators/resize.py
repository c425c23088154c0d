"""Resizing: along each axis a fixed matrix that chooses elements or interpolates between them.

Rows of a few equal parts are repetitions and sums, which spikes pass unchanged; any other matrix
is a synapse.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from spikec.compiler.onnx.layout import reshaped
from spikec.compiler.onnx.node import OnnxNode
from spikec.compiler.onnx.operators import lowers
from spikec.compiler.onnx.operators.elementwise import scaled
from spikec.compiler.onnx.operators.linear import along_axis
from spikec.compiler.onnx.operators.routing import taken
from spikec.compiler.onnx.operators.shape import turned
from spikec.compiler.onnx.values import Tensor
from spikec.ir.op import AttrValue
from spikec.ir.types import Array

Matrix = NDArray[np.float64]
Counts = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class _Scaling:
    """How one axis of `size` elements becomes one of `target` elements."""

    size: int
    target: int
    scale: float


_COORDINATES: dict[str, Callable[[Array, _Scaling], Array]] = {
    "half_pixel": lambda out, axis: (out + 0.5) / axis.scale - 0.5,
    "half_pixel_symmetric": lambda out, axis: (
        axis.size / 2 * (1 - axis.target / (axis.scale * axis.size))
        + (out + 0.5) / axis.scale
        - 0.5
    ),
    "pytorch_half_pixel": lambda out, axis: (
        (out + 0.5) / axis.scale - 0.5 if axis.target > 1 else 0.0 * out
    ),
    "align_corners": lambda out, axis: out * (axis.size - 1) / max(axis.target - 1, 1),
    "asymmetric": lambda out, axis: out / axis.scale,
}
"""Position in the input of an output element, by coordinate_transformation_mode."""

_NEAREST: dict[str, Callable[[Array], Array]] = {
    "round_prefer_floor": lambda x: np.ceil(x - 0.5),
    "round_prefer_ceil": lambda x: np.floor(x + 0.5),
    "floor": np.floor,
    "ceil": np.ceil,
}


@lowers("Upsample")
def upsample(node: OnnxNode) -> Tensor:
    """Resize as opsets below 10 write it."""
    scales = node.floats("scales") or tuple(node.weights(1).reshape(-1).tolist())
    kernel = _kernel_of(node, node.attr("mode", "nearest"))
    return _resized(node, _Rule("asymmetric", "floor", kernel), scales, None)


@lowers("Resize")
def resize(node: OnnxNode) -> Tensor:
    """Resizing by scales or to sizes, to the nearest element, linear or cubic."""
    kernel = _kernel_of(node, node.attr("mode", "nearest"))
    if node.attr("keep_aspect_ratio_policy", "stretch") != "stretch":
        node.refuse("keep_aspect_ratio_policy is not supported", "resize to sizes")
    if node.opset < 11:
        scales = node.weights(1).reshape(-1).tolist()
        return _resized(node, _Rule("asymmetric", "floor", kernel), scales, None)
    rule = _Rule(
        node.attr("coordinate_transformation_mode", "half_pixel"),
        node.attr("nearest_mode", "round_prefer_floor"),
        kernel,
        bool(node.attr("antialias", 0)),
        bool(node.attr("exclude_outside", 0)),
    )
    if rule.coordinates not in _COORDINATES or rule.nearest not in _NEAREST:
        node.refuse(f"{rule.coordinates}, {rule.nearest} is not supported", "use half_pixel")
    if node.has(3) and node.constant(3).size:
        return _resized(node, rule, (), _on_axes(node, node.integers(3)))
    return _resized(node, rule, _on_axes(node, node.weights(2).reshape(-1).tolist()), None)


@dataclass(frozen=True, slots=True)
class _Kernel:
    """Weight of an element by its distance, and the distance from which on it is 0."""

    weight: Callable[[Array], Array]
    reach: int


@dataclass(frozen=True, slots=True)
class _Rule:
    """How elements of the result are found; no kernel takes the nearest element."""

    coordinates: str
    nearest: str
    kernel: _Kernel | None
    antialias: bool = False
    exclude_outside: bool = False

    def matrix(self, axis: _Scaling) -> Matrix:
        """Weight of each element (column) in each element of the result (row)."""
        rows = np.arange(axis.target)
        places = _COORDINATES[self.coordinates](rows.astype(np.float64), axis)
        matrix = np.zeros((axis.target, axis.size))
        if self.kernel is None:
            nearest = _NEAREST[self.nearest](places).astype(int).clip(0, axis.size - 1)
            matrix[rows, nearest] = 1
            return matrix
        widen = max(1.0, 1 / axis.scale) if self.antialias else 1.0
        reach = math.ceil(self.kernel.reach * widen)
        first = np.floor(places).astype(int)
        for column in range(-reach, reach + 1):
            tap = first + column
            weight = self.kernel.weight(np.abs(places - tap) / widen)
            if self.exclude_outside:
                weight = np.where((tap >= 0) & (tap < axis.size), weight, 0)
            np.add.at(matrix, (rows, tap.clip(0, axis.size - 1)), weight)
        return matrix / matrix.sum(axis=1, keepdims=True)


def _kernel_of(node: OnnxNode, mode: str) -> _Kernel | None:
    if mode == "nearest":
        return None
    if mode in ("linear", "bilinear"):
        return _Kernel(lambda distance: np.maximum(1 - distance, 0), 1)
    if mode != "cubic":
        node.refuse(f"mode '{mode}' is not supported", "use nearest, linear or cubic")
    a = float(node.attr("cubic_coeff_a", -0.75))
    return _Kernel(lambda distance: _cubic(distance, a), 2)


def _cubic(distance: Array, a: float) -> Array:
    """Keys' kernel (IEEE Trans. ASSP 29, 1981)."""
    near = (a + 2) * distance**3 - (a + 3) * distance**2 + 1
    far = a * (distance**3 - 5 * distance**2 + 8 * distance - 4)
    return np.where(distance <= 1, near, np.where(distance < 2, far, 0))


def _on_axes(node: OnnxNode, values: Sequence[float]) -> tuple[float, ...]:
    """Values for the listed axes, 0 (unchanged) for the others."""
    rank = node.tensor().rank
    axes = node.attr("axes", tuple(range(rank)))
    if len(axes) != len(values) or any(not -rank <= axis < rank for axis in axes):
        node.invalid(f"{len(values)} scales or sizes do not fit {len(axes)} axes")
    full = [0.0] * rank
    for axis, value in zip(axes, values, strict=True):
        full[axis] = value
    return tuple(full)


def _resized(
    node: OnnxNode, rule: _Rule, scales: Sequence[float], sizes: Sequence[float] | None
) -> Tensor:
    x = node.tensor()
    given = scales if sizes is None else sizes
    if len(given) != x.rank:
        node.invalid(f"{len(given)} scales or sizes do not fit {x.rank} axes")
    if given[0] not in (0, 1) and (sizes is None or given[0] != node.scope.batch):
        node.refuse("it resizes the batch axis")
    axes = {}
    for axis, value in enumerate(given[1:]):
        size = x.shape[axis]
        target = size if not value else math.floor(size * value) if sizes is None else int(value)
        if target == size and (sizes is not None or value in (0, 1)):
            continue
        if target < 1:
            node.invalid(f"it shrinks {size} elements to {target}")
        axes[axis] = _Scaling(size, target, value if sizes is None else target / size)
        node.builder.check_size(node.name, math.prod(x.shape) // size * target)
    factor = 1.0
    for axis, scaling in axes.items():
        x, part = _mapped(node, x, axis, rule.matrix(scaling))
        factor *= part
    return scaled(node, x, factor, 0.0)


_MOST_TERMS = 16
"""Elements that a sum may take for one element of the result."""


def _mapped(node: OnnxNode, x: Tensor, axis: int, matrix: Matrix) -> tuple[Tensor, float]:
    """`matrix x` along an axis, and a factor that is left to be applied."""
    for terms in range(1, _MOST_TERMS + 1):
        counts = np.rint(matrix * terms)
        if (counts >= 0).all() and np.allclose(counts, matrix * terms, rtol=0, atol=1e-6):
            return _summed(node, x, axis, counts.astype(np.int64), terms), 1 / terms
    return along_axis(node, x, matrix.astype(np.float32), axis), 1.0


def _summed(node: OnnxNode, x: Tensor, axis: int, counts: Counts, terms: int) -> Tensor:
    """Each element of the result as a sum of `terms` elements, some of them repeated.

    The sums of neighbours overlap: a window slides over elements that are repeated as needed.
    """
    columns = np.broadcast_to(np.arange(counts.shape[1]), counts.shape)
    rows = np.repeat(columns.reshape(-1), counts.reshape(-1)).reshape(-1, terms)
    strides = range(1, terms + 1)
    stride = next(s for s in strides if (rows[1:, : terms - s] == rows[:-1, s:]).all())
    sequence = np.concatenate([rows[0], rows[1:, terms - stride :].reshape(-1)])
    x = taken(node, x, axis, sequence.tolist())
    return x if terms == 1 else _window_sums(node, x, axis, terms, stride)


def _window_sums(node: OnnxNode, x: Tensor, axis: int, size: int, stride: int) -> Tensor:
    """Sums over windows along one axis."""
    rank = len(x.shape)
    if rank == 1:
        y = _window_sums(node, reshaped(node, x, (1, *x.shape)), 1, size, stride)
        return reshaped(node, y, y.shape[1:])
    if axis == 0:
        swap = (1, 0, *range(2, rank))
        return turned(node, _window_sums(node, turned(node, x, swap), 1, size, stride), swap)
    along = [a == axis for a in range(1, rank)]
    attrs: dict[str, AttrValue] = {
        "kernel": tuple(size if here else 1 for here in along),
        "strides": tuple(stride if here else 1 for here in along),
        "pads": (0,) * (2 * rank - 2),
        "dilations": (1,) * (rank - 1),
    }
    return node.emit("sum_pool", [x], attrs)
