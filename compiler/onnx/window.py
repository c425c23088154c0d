"""Geometry attributes that convolution and pooling share in ONNX."""

from __future__ import annotations

from collections.abc import Sequence

from spikec.compiler.onnx.importer import OnnxNode
from spikec.ir.op import AttrValue


def window_attrs(
    node: OnnxNode, spatial: Sequence[int], kernel: Sequence[int]
) -> dict[str, AttrValue]:
    """strides, pads and dilations with auto_pad and ceil_mode resolved.

    Args:
        node: The node.
        spatial: Spatial shape of its input.
        kernel: Taps per spatial axis.
    """
    rank = len(spatial)
    strides = tuple(node.attr("strides", (1,) * rank))
    dilations = tuple(node.attr("dilations", (1,) * rank))
    pads = list(node.attr("pads", (0,) * (2 * rank)))
    if not (len(kernel) == len(strides) == len(dilations) == rank and len(pads) == 2 * rank):
        node.refuse(f"kernel, strides, dilations and pads do not fit {rank} spatial axes")
    if min((*strides, *dilations, *kernel)) < 1:
        node.refuse("kernel, strides and dilations must be positive")
    extent = [d * (k - 1) + 1 for d, k in zip(dilations, kernel, strict=True)]
    auto = node.attr("auto_pad", "NOTSET")
    if auto in ("SAME_UPPER", "SAME_LOWER"):
        for axis in range(rank):
            out = -(-spatial[axis] // strides[axis])
            total = max((out - 1) * strides[axis] + extent[axis] - spatial[axis], 0)
            small = total // 2
            first = small if auto == "SAME_UPPER" else total - small
            pads[axis], pads[axis + rank] = first, total - first
    elif auto not in ("NOTSET", "VALID", ""):
        node.refuse(f"auto_pad '{auto}' is unknown")
    elif auto == "VALID":
        pads = [0] * (2 * rank)
    elif node.attr("ceil_mode", 0):
        for axis in range(rank):
            _pad_for_ceil(axis, pads, spatial[axis], extent[axis], strides[axis])
    if min(pads, default=0) < 0:
        node.refuse("negative pads are not supported", "crop with a Slice before the node")
    return {"strides": strides, "pads": tuple(pads), "dilations": dilations}


def _pad_for_ceil(axis: int, pads: list[int], size: int, extent: int, stride: int) -> None:
    """Extend the end pad so that the last, partial window counts; it must start inside."""
    rank = len(pads) // 2
    padded = size + pads[axis] + pads[axis + rank]
    windows = -(-(padded - extent) // stride) + 1
    if (windows - 1) * stride >= size + pads[axis]:
        windows -= 1
    pads[axis + rank] += max((windows - 1) * stride + extent - padded, 0)
