"""Products of two values that both depend on the data: refused by what they are.

docs/products.md says why, and what to change in a model.
"""

from __future__ import annotations

from typing import NoReturn

from spikec.compiler.onnx.node import OnnxNode
from spikec.compiler.onnx.values import Tensor
from spikec.ir.ops.activations.clip import Clip
from spikec.ir.ops.activations.pointwise import Pointwise
from spikec.ir.ops.activations.qcfs import Qcfs

BOUNDED = ("sigmoid", "tanh")
"""Functions that gates end in; a hard sigmoid is a clip, a trained one a quantiser."""
_REASON = "values that both depend on the data, which has no spiking form"
_PAGE = "docs/products.md says why, and what else can be done"


def refuse_product(node: OnnxNode, *factors: Tensor) -> NoReturn:
    """Refuse a product, named where it is a known one."""
    gates = [x for x in factors if _is_gate(node, x)]
    others = [x for x in factors if x not in gates]
    if gates and any(_is_by_channel(x, of) for x in gates for of in others):
        node.refuse(
            f"squeeze-and-excitation multiplies {_REASON}: channels by factors computed from them",
            f"train without it, or replace the factors by constants; {_PAGE}",
        )
    if gates:
        node.refuse(
            f"a gate multiplies {_REASON}",
            f"train without it, or replace the gate by constants; {_PAGE}",
        )
    node.refuse(f"it multiplies {_REASON}", f"use constant factors; {_PAGE}")


def _is_gate(node: OnnxNode, x: Tensor) -> bool:
    """Whether a value comes from a bounded function, moved or scaled since."""
    made = node.builder.nodes[x.name]
    while made.operation.linear and len(made.inputs) == 1 and not made.operation.weighted:
        made = node.builder.nodes[made.inputs[0]]
    op = made.operation
    return isinstance(op, Clip | Qcfs) or (isinstance(op, Pointwise) and op.fn in BOUNDED)


def _is_by_channel(x: Tensor, of: Tensor) -> bool:
    """Whether a value holds one number for each channel of a map, wherever its channels stand."""
    alike = [a == b for a, b in zip(x.shape, of.shape, strict=False)]
    alone = sum(size > 1 for size in x.shape) == 1
    return len(x.shape) == len(of.shape) > 1 and alone and sum(alike) == 1
