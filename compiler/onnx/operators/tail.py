"""Operators that are left to whoever reads the outputs."""

from dataclasses import replace

from spikec.compiler.onnx.layout import located
from spikec.compiler.onnx.node import OnnxNode
from spikec.compiler.onnx.operators import lowers
from spikec.compiler.onnx.values import Tail, Tensor


@lowers("Softmax", "LogSoftmax", "Hardmax", layouts="read", tail=True)
def softmax(node: OnnxNode) -> Tensor:
    """Cut off at the end of a network: it does not change the order of the classes."""
    x = node.tensor()
    axis = node.attr("axis", 1 if node.opset < 13 else -1)
    return cut(node, x, _own_axis(node, x, axis))


@lowers("ArgMax", "ArgMin", layouts="read", tail=True)
def arg_max(node: OnnxNode) -> Tensor:
    """Cut off at the end of a network: the choice of the class."""
    x = node.tensor()
    return cut(node, x, _own_axis(node, x, node.attr("axis", 0)))


@lowers("TopK", layouts="read", tail=True)
def top_k(node: OnnxNode) -> list[Tensor]:
    """Cut off at the end of a network: the best classes."""
    x = node.tensor()
    return [cut(node, x, _own_axis(node, x, node.attr("axis", -1)))] * 2


@lowers("QLinearSoftmax", domain="com.microsoft", integers="read", layouts="read", tail=True)
def qlinear_softmax(node: OnnxNode) -> Tensor:
    """Cut off at the end of a network: it does not change the order of the classes."""
    return cut(node, node.tensor())


@lowers("LpNormalization", layouts="read", tail=True)
def lp_normalization(node: OnnxNode) -> Tensor:
    """Cut off at the end of a network: it does not change the direction of an embedding."""
    x = node.tensor()
    _own_axis(node, x, node.attr("axis", -1))
    return cut(node, x)


def cut(node: OnnxNode, x: Tensor, classes: int | None = None) -> Tensor:
    """`x`, marked as what a cut-off operator reads."""
    value = next(v for v in node.proto.input if node.scope.values.get(v) == x)
    return replace(x, tail=Tail(f"{node.proto.op_type} '{node.name}'", value, classes))


def _own_axis(node: OnnxNode, x: Tensor, axis: int) -> int:
    """An axis per sample; refuses that of the batch."""
    found, (own,) = located(node, x, [axis])
    if found.batch is None and x.batch is not None:
        node.refuse(f"axis {axis} mixes samples of a batch")
    return own
