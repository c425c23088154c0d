"""Geometry attributes that convolution and pooling share in ONNX."""

from __future__ import annotations

import math
from collections.abc import Sequence

from spikec.compiler.onnx.node import OnnxNode
from spikec.ir.op import AttrValue

_LARGEST = 1 << 20


def window_attrs(
    node: OnnxNode, spatial: Sequence[int], kernel: Sequence[int]
) -> dict[str, AttrValue]:
    """strides, pads and dilations with auto_pad and ceil_mode resolved.

    Args:
        node: The node.
        spatial: Spatial shape of its input.
        kernel: Taps per spatial axis.
    """
    strides, dilations, pads = _declared(node, kernel, len(spatial))
    rank = len(spatial)
    extent = [d * (k - 1) + 1 for d, k in zip(dilations, kernel, strict=True)]
    auto = node.attr("auto_pad", "NOTSET")
    if auto in ("SAME_UPPER", "SAME_LOWER"):
        for axis in range(rank):
            out = -(-spatial[axis] // strides[axis])
            total = max((out - 1) * strides[axis] + extent[axis] - spatial[axis], 0)
            pads[axis], pads[axis + rank] = _halves(total, auto)
    elif auto == "VALID":
        pads = [0] * (2 * rank)
    elif auto not in ("NOTSET", ""):
        node.refuse(f"auto_pad '{auto}' is unknown")
    if node.attr("ceil_mode", 0):
        for axis in range(rank):
            _pad_for_ceil(axis, pads, spatial[axis], extent[axis], strides[axis])
    if min(pads, default=0) < 0:
        node.refuse("negative pads are not supported", "crop with a Slice before the node")
    padded = (n + b + e for n, b, e in zip(spatial, pads[:rank], pads[rank:], strict=True))
    node.builder.check_size(node.name, math.prod(padded))
    return {"strides": strides, "pads": tuple(pads), "dilations": dilations}


def _declared(
    node: OnnxNode, kernel: Sequence[int], rank: int
) -> tuple[tuple[int, ...], tuple[int, ...], list[int]]:
    strides = node.attr("strides", (1,) * rank)
    dilations = node.attr("dilations", (1,) * rank)
    pads = list(node.attr("pads", (0,) * (2 * rank)))
    fits = len(kernel) == len(strides) == len(dilations) == rank and len(pads) == 2 * rank
    if not fits or not rank:
        node.refuse(f"kernel, strides, dilations and pads do not fit {rank} spatial axes")
    if min((*strides, *dilations, *kernel)) < 1:
        node.refuse("kernel, strides and dilations must be positive")
    if max((*strides, *dilations, *kernel, *pads)) > _LARGEST:
        node.refuse(f"kernel, strides, dilations and pads must not exceed {_LARGEST}")
    return strides, dilations, pads


def _halves(total: int, auto: str) -> tuple[int, int]:
    """Pads before and after an axis."""
    small = total // 2
    return (small, total - small) if auto == "SAME_UPPER" else (total - small, small)


def _pad_for_ceil(axis: int, pads: list[int], size: int, extent: int, stride: int) -> None:
    """Extend the end pad so that the last, partial window counts; it must start inside."""
    rank = len(pads) // 2
    padded = size + pads[axis] + pads[axis + rank]
    windows = -(-(padded - extent) // stride) + 1
    if (windows - 1) * stride >= size + pads[axis]:
        windows -= 1
    pads[axis + rank] += max((windows - 1) * stride + extent - padded, 0)


def transposed_attrs(
    node: OnnxNode, spatial: Sequence[int], kernel: Sequence[int]
) -> dict[str, AttrValue]:
    """Geometry of a ConvTranspose; its output_shape and auto_pad resolved to pads."""
    rank = len(spatial)
    strides, dilations, pads = _declared(node, kernel, rank)
    extra = list(node.attr("output_padding", (0,) * rank))
    wanted = node.attr("output_shape", ())[-rank:]
    auto = node.attr("auto_pad", "NOTSET")
    if len(extra) != rank or len(wanted) not in (0, rank):
        node.refuse(f"output_padding and output_shape do not fit {rank} spatial axes")
    if auto in ("SAME_UPPER", "SAME_LOWER") and not wanted:
        if any(d * (k - 1) + 1 < s for d, k, s in zip(dilations, kernel, strides, strict=True)):
            # The standard asks for more elements than the kernel reaches, onnxruntime yields less.
            node.refuse(
                f"auto_pad {auto} with a kernel {list(kernel)} below its strides {list(strides)}",
                "export with explicit pads or output_shape",
            )
        wanted = tuple(size * stride for size, stride in zip(spatial, strides, strict=True))
    elif auto == "VALID":
        pads = [0] * (2 * rank)
    for axis, target in enumerate(wanted):
        whole = strides[axis] * (spatial[axis] - 1) + dilations[axis] * (kernel[axis] - 1) + 1
        total = whole + extra[axis] - target
        extra[axis] += max(-total, 0)
        side = "SAME_UPPER" if auto == "SAME_UPPER" else "SAME_LOWER"
        pads[axis], pads[axis + rank] = _halves(max(total, 0), side)
    if min((*pads, *extra)) < 0:
        node.refuse("negative pads are not supported", "crop with a Slice after the node")
    return {
        "strides": strides,
        "pads": tuple(pads),
        "dilations": dilations,
        "extra": tuple(extra),
    }
