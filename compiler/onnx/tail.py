"""Operators that are left to whoever reads the outputs."""

from dataclasses import replace

from spikec.compiler.onnx.importer import OnnxNode, Tensor, lowers


@lowers("Softmax", "LogSoftmax")
def softmax(node: OnnxNode) -> Tensor:
    """Cut off at the end of a network: it does not change the order of the classes."""
    x = node.tensor()
    axis = int(node.attr("axis", 1 if node.opset < 13 else -1))
    if axis % (len(x.shape) + 1) == 0:
        node.refuse("axis 0 mixes samples of a batch")
    return replace(x, tail=f"{node.proto.op_type} '{node.name}'")
