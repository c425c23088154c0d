"""Where the batch axis of an ONNX value stands, and axes without it.

A graph holds one sample, so the batch axis of each value is left out. A model that is fixed to a
batch of one may treat that axis as any other (channel shuffles do): it is then dissolved, and
all axes of the ONNX value are axes of the sample.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from spikec.compiler.onnx.node import OnnxNode
from spikec.compiler.onnx.values import Tensor
from spikec.ir.ops.routing.reshape import Reshape


def reshaped(node: OnnxNode, x: Tensor, shape: tuple[int, ...]) -> Tensor:
    """`x` under another shape per sample; reshapes in a row become one."""
    if shape == x.shape or (shape, x.shape) in (((), (1,)), ((1,), ())):
        return replace(x, shape=shape)
    made = node.builder.nodes[x.name]
    base = Tensor(x.name, made.type.shape)
    if isinstance(made.operation, Reshape):
        base = Tensor(made.inputs[0], node.builder.nodes[made.inputs[0]].type.shape)
    y = base if shape == base.shape else node.emit("reshape", [base], {"shape": shape or (1,)})
    return replace(x, name=y.name, shape=shape)


def full_shape(x: Tensor, batch: int) -> tuple[int, ...]:
    """The ONNX shape of a value, for a batch of some size."""
    if x.batch is None:
        return x.shape
    return (*x.shape[: x.batch], batch, *x.shape[x.batch :])


def batch_first(node: OnnxNode, x: Tensor) -> Tensor:
    """`x`, whose batch axis must be the first, or an axis of size 1 that stands for it."""
    if x.batch and node.scope.is_single:
        x = settled(node, dissolved(node, x))
    if x.batch is None:
        node.refuse(f"its input of shape {list(x.shape)} has no batch axis")
    if x.batch:
        node.refuse(f"the batch is axis {x.batch} of its input", "keep it the first axis")
    return x


def dissolved(node: OnnxNode, x: Tensor, what: str = "it") -> Tensor:
    """`x` with the batch axis as an axis of the sample; refused where a batch may be larger."""
    if x.batch is None:
        return x
    if not node.scope.is_single:
        node.refuse(
            f"{what} mixes samples of a batch",
            "export with a batch of 1, or say so with `--shape INPUT=1,...`",
        )
    return replace(reshaped(node, x, full_shape(x, 1)), batch=None)


def settled(node: OnnxNode, x: Tensor) -> Tensor:
    """`x` with its first axis as the batch, where that was dissolved and is of size 1 again."""
    if x.batch is not None or x.shape[:1] != (1,):
        return x
    return replace(reshaped(node, x, x.shape[1:]), batch=0)


def located(node: OnnxNode, x: Tensor, axes: Sequence[int]) -> tuple[Tensor, list[int]]:
    """`x`, its batch axis dissolved if it is among some ONNX axes, and these as axes per sample."""
    rank = x.rank
    for axis in axes:
        if not -rank <= axis < rank:
            node.invalid(f"axis {axis} does not fit {rank} axes")
    normal = [axis % rank for axis in axes]
    if x.batch in normal:
        x = dissolved(node, x, f"axis {x.batch}")
    before = (x.batch is not None and axis > x.batch for axis in normal)
    return x, [axis - moved for axis, moved in zip(normal, before, strict=True)]
