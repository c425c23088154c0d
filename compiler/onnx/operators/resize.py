"""Resizing along the axes of a sample."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

from spikec.compiler.onnx.node import OnnxNode
from spikec.compiler.onnx.operators import lowers
from spikec.compiler.onnx.operators.routing import taken
from spikec.compiler.onnx.values import Tensor


@lowers("Upsample")
def upsample(node: OnnxNode) -> Tensor:
    """Resize as opsets below 10 write it."""
    x = node.tensor()
    if node.attr("mode", "nearest") != "nearest":
        node.refuse(f"mode '{node.attr('mode')}' is not supported", "use nearest")
    scales = node.attr("scales", ()) or tuple(node.weights(1).reshape(-1).tolist())
    return _resized(node, x, scales, None, lambda o, s, n, m: o / s, math.floor)


_Coordinate = Callable[[int, float, int, int], float]

_COORDINATES: dict[str, _Coordinate] = {
    "half_pixel": lambda out, scale, size, target: (out + 0.5) / scale - 0.5,
    "half_pixel_symmetric": lambda out, scale, size, target: (
        size / 2 * (1 - target / (scale * size)) + (out + 0.5) / scale - 0.5
    ),
    "pytorch_half_pixel": lambda out, scale, size, target: (
        (out + 0.5) / scale - 0.5 if target > 1 else 0.0
    ),
    "align_corners": lambda out, scale, size, target: (
        out * (size - 1) / (target - 1) if target > 1 else 0.0
    ),
    "asymmetric": lambda out, scale, size, target: out / scale,
}
"""Position in the input of an output element, by coordinate_transformation_mode."""

_NEAREST: dict[str, Callable[[float], int]] = {
    "round_prefer_floor": lambda x: math.ceil(x - 0.5),
    "round_prefer_ceil": lambda x: math.floor(x + 0.5),
    "floor": math.floor,
    "ceil": math.ceil,
}


@lowers("Resize")
def resize(node: OnnxNode) -> Tensor:
    """Nearest-neighbour resizing by scales or to sizes."""
    x = node.tensor()
    mode = node.attr("mode", "nearest")
    how = node.attr("coordinate_transformation_mode", "half_pixel")
    nearest = node.attr("nearest_mode", "round_prefer_floor")
    if mode != "nearest" or how not in _COORDINATES or nearest not in _NEAREST:
        node.refuse(f"mode '{mode}' with {how}, {nearest} is not supported", "use nearest")
    if node.attr("antialias", 0) or node.attr("keep_aspect_ratio_policy", "stretch") != "stretch":
        node.refuse("antialias and keep_aspect_ratio_policy are not supported")
    if node.opset < 11:
        scales = tuple(node.weights(1).reshape(-1).tolist())
        return _resized(node, x, scales, None, _COORDINATES["asymmetric"], math.floor)
    sized = node.has(3) and node.constant(3).size > 0
    sizes = _on_axes(node, x, list(node.integers(3))) if sized else None
    scales = () if sized else _on_axes(node, x, node.weights(2).reshape(-1).tolist())
    return _resized(node, x, scales, sizes, _COORDINATES[how], _NEAREST[nearest])


def _on_axes(node: OnnxNode, x: Tensor, values: list[float]) -> tuple[float, ...]:
    """Values for the listed axes, 0 (unchanged) for the others."""
    rank = len(x.shape) + 1
    axes = node.attr("axes", tuple(range(rank)))
    if len(axes) != len(values) or any(not -rank <= axis < rank for axis in axes):
        node.invalid(f"{len(values)} scales or sizes do not fit {len(axes)} axes")
    full = [0.0] * rank
    for axis, value in zip(axes, values, strict=True):
        full[axis] = value
    return tuple(full)


def _resized(
    node: OnnxNode,
    x: Tensor,
    scales: Sequence[float],
    sizes: Sequence[float] | None,
    coordinate: _Coordinate,
    nearest: Callable[[float], int],
) -> Tensor:
    given = scales if sizes is None else sizes
    if len(given) != len(x.shape) + 1:
        node.invalid(f"{len(given)} scales or sizes do not fit {len(x.shape) + 1} axes")
    if given[0] not in (0, 1) and (sizes is None or given[0] != node.scope.batch):
        node.refuse("it resizes the batch axis")
    for axis, value in enumerate(given[1:]):
        size = x.shape[axis]
        target = size if not value else math.floor(size * value) if sizes is None else int(value)
        if target == size and (sizes is not None or value in (0, 1)):
            continue
        if target < 1:
            node.invalid(f"it shrinks {size} elements to {target}")
        node.builder.check_size(node.name, math.prod(x.shape) // size * target)
        scale = value if sizes is None else target / size
        places = (nearest(coordinate(out, scale, size, target)) for out in range(target))
        x = taken(node, x, axis, [min(max(place, 0), size - 1) for place in places])
    return x
