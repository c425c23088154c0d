"""Operators that move elements without changing them."""

import math

from spikec.compiler.onnx.importer import OnnxNode, Tensor, lowers


@lowers("Flatten")
def flatten(node: OnnxNode) -> Tensor:
    """All axes of a sample into one."""
    x = node.tensor()
    axis = int(node.attr("axis", 1))
    if axis % (len(x.shape) + 1) != 1:
        node.refuse(f"axis {axis} mixes samples of a batch", "flatten from axis 1")
    return reshaped(node, x, (math.prod(x.shape),))


def reshaped(node: OnnxNode, x: Tensor, shape: tuple[int, ...]) -> Tensor:
    """`x` under another shape per sample."""
    return x if shape == x.shape else node.emit("reshape", [x], {"shape": shape})


@lowers("Reshape")
def reshape(node: OnnxNode) -> Tensor:
    """Another shape for each sample."""
    x, batch = node.tensor(), node.importer.batch
    target = [int(size) for size in node.constant(1).reshape(-1)]
    full = (batch, *x.shape)
    if not node.attr("allowzero", 0):
        target = [full[i] if s == 0 and i < len(full) else s for i, s in enumerate(target)]
    known = math.prod(size for size in target if size != -1)
    if target.count(-1) > 1 or known <= 0 or math.prod(full) % known:
        node.refuse(f"shape {target} does not fit {math.prod(full)} elements")
    target = [math.prod(full) // known if size == -1 else size for size in target]
    if len(target) < 2 or target[0] != batch or math.prod(target) != math.prod(full):
        node.refuse(f"shape {target} mixes samples of a batch (its first axis must stay {batch})")
    return reshaped(node, x, tuple(target[1:]))


@lowers("Identity")
def identity(node: OnnxNode) -> Tensor:
    """The input."""
    return node.value(0)  # type: ignore[return-value]


@lowers("Dropout")
def dropout(node: OnnxNode) -> Tensor:
    """The input: dropout does nothing at inference."""
    if len(node.proto.output) > 1 and node.proto.output[1]:
        node.refuse("the dropout mask is used")
    if node.has(2) and bool(node.constant(2).reshape(-1)[0]):
        node.refuse("training_mode is on", "export the model in evaluation mode")
    return node.tensor()
