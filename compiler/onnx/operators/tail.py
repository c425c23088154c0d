"""Operators that are left to whoever reads the outputs."""

from dataclasses import replace

from spikec.compiler.onnx.node import OnnxNode
from spikec.compiler.onnx.operators import lowers
from spikec.compiler.onnx.values import Tail, Tensor


@lowers("Softmax", "LogSoftmax", "Hardmax", tail=True)
def softmax(node: OnnxNode) -> Tensor:
    """Cut off at the end of a network: it does not change the order of the classes."""
    x = node.tensor()
    node.axis(node.attr("axis", 1 if node.opset < 13 else -1), len(x.shape) + 1)
    return cut(node, x)


@lowers("ArgMax", "ArgMin", tail=True)
def arg_max(node: OnnxNode) -> Tensor:
    """Cut off at the end of a network: the choice of the class."""
    x = node.tensor()
    node.axis(node.attr("axis", 0), len(x.shape) + 1)
    return cut(node, x)


@lowers("TopK", tail=True)
def top_k(node: OnnxNode) -> list[Tensor]:
    """Cut off at the end of a network: the best classes."""
    x = node.tensor()
    node.axis(node.attr("axis", -1), len(x.shape) + 1)
    return [cut(node, x)] * 2


def cut(node: OnnxNode, x: Tensor) -> Tensor:
    """`x`, marked as what a cut-off operator reads."""
    value = next(v for v in node.proto.input if node.scope.values.get(v) == x)
    return replace(x, tail=Tail(f"{node.proto.op_type} '{node.name}'", value))
