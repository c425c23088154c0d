"""Computes nodes whose inputs are all constants, within bounds."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable

import numpy as np
import onnx
from onnx.reference import ReferenceEvaluator

from spikec.compiler.onnx.node import OnnxNode
from spikec.compiler.onnx.operators import foldings
from spikec.compiler.onnx.values import MOST_ELEMENTS, Constant
from spikec.ir import SpikecError

_FOLDED = """
    Abs Add And ArgMax ArgMin BatchNormalization BitShift BitwiseAnd BitwiseNot BitwiseOr Cast
    CastLike Ceil Clip Compress Concat Constant ConstantOfShape CumSum DepthToSpace
    DequantizeLinear Div Elu Equal Erf Exp Expand EyeLike Flatten Floor Gather GatherElements
    GatherND Gemm Greater GreaterOrEqual Identity IsInf IsNaN LeakyRelu Less LessOrEqual Log
    MatMul Max Mean Min Mod Mul Neg NonZero Not OneHot Or PRelu Pad Pow QuantizeLinear Range
    Reciprocal ReduceL1 ReduceL2 ReduceMax ReduceMean ReduceMin ReduceProd ReduceSum
    ReduceSumSquare Relu Reshape Resize Round ScatterElements ScatterND Selu Shape Sigmoid
    Sign Sin Cos Size Slice Softmax Softplus SpaceToDepth Split Sqrt Squeeze Sub Sum Tan Tanh
    Tile Transpose Trilu Unsqueeze Where Xor
"""
"""Operators of ONNX that are computed; none of them runs longer than its sizes say."""


def fold(node: OnnxNode) -> list[Constant]:
    """The results of a node whose inputs are all constants."""
    if node.key in foldings():
        return [foldings()[node.key](node)]
    if node.key[0] or node.key[1] not in _FOLDED.split():
        node.refuse(f"constant {node.proto.op_type} cannot be evaluated")
    try:
        _check_size(node)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return _run(node)
    except SpikecError:
        raise
    except Exception as error:  # ONNX's evaluator raises many unrelated kinds
        first = (str(error).strip() or type(error).__name__).splitlines()[0]
        node.refuse(f"constant {node.proto.op_type} cannot be evaluated: {first}")


def _run(node: OnnxNode) -> list[Constant]:
    proto = node.proto
    names = dict.fromkeys(name for name in proto.input if name)
    feeds = {name: node.scope.values[name] for name in names}
    graph = onnx.helper.make_graph(
        [proto],
        "fold",
        [
            onnx.helper.make_tensor_value_info(
                name, onnx.helper.np_dtype_to_tensor_dtype(_array(value).dtype), None
            )
            for name, value in feeds.items()
        ],
        [onnx.helper.make_empty_tensor_value_info(name) for name in proto.output if name],
    )
    model = onnx.helper.make_model(graph, opset_imports=node.scope.model.opset_import)
    return [np.asarray(result) for result in ReferenceEvaluator(model).run(None, feeds)]


def _array(value: object) -> Constant:
    assert isinstance(value, np.ndarray)
    return value


def _check_size(node: OnnxNode) -> None:
    arrays = [_array(node.value(i)) for i in range(len(node.proto.input)) if node.has(i)]
    size = _SIZES.get(node.proto.op_type, _broadcast_size)(node, arrays)
    node.scope.folded += size
    if node.scope.folded > MOST_ELEMENTS:
        node.refuse(f"constant {node.proto.op_type} would have {size} elements")


def _product(values: Constant) -> int:
    return math.prod(max(int(value), 0) for value in np.asarray(values).reshape(-1))


def _broadcast_size(node: OnnxNode, arrays: list[Constant]) -> int:
    total = sum(array.size for array in arrays)
    try:
        shape = np.broadcast_shapes(*(array.shape for array in arrays))
    except ValueError:
        return total
    return max(math.prod(shape), total)


def _repeated_size(node: OnnxNode, arrays: list[Constant]) -> int:
    return arrays[0].size * _product(arrays[1])


def _range_size(node: OnnxNode, arrays: list[Constant]) -> int:
    start, limit, step = (float(array.reshape(-1)[0]) for array in arrays)
    return max(math.ceil((limit - start) / step), 0)


def _pad_size(node: OnnxNode, arrays: list[Constant]) -> int:
    pads = arrays[1] if len(arrays) > 1 else np.array(node.attr("pads", ()))
    most = int(np.abs(pads).max(initial=0))
    return math.prod(size + 2 * most for size in arrays[0].shape)


def _resize_size(node: OnnxNode, arrays: list[Constant]) -> int:
    scales = [a for a in arrays[1:] if a.dtype.kind == "f" and a.size]
    sizes = [a for a in arrays[1:] if a.dtype.kind == "i" and a.size]
    factor = math.prod(max(float(v), 1.0) for a in scales for v in a.reshape(-1))
    return max(math.ceil(arrays[0].size * factor), *(_product(a) for a in sizes), 0)


def _matmul_size(node: OnnxNode, arrays: list[Constant]) -> int:
    a, b = arrays[:2]
    inner = max(min(*a.shape[-2:], *b.shape[-2:]), 1) if a.ndim and b.ndim else 1
    return -(-a.size // inner) * -(-b.size // inner)


def _gather_size(node: OnnxNode, arrays: list[Constant]) -> int:
    data, indices = arrays[:2]
    return indices.size * max(data.size // min((n for n in data.shape if n), default=1), 1)


_SIZES: dict[str, Callable[[OnnxNode, list[Constant]], int]] = {
    "ConstantOfShape": lambda node, arrays: _product(arrays[0]),
    "Expand": _repeated_size,
    "Gather": _gather_size,
    "GatherND": _gather_size,
    "Gemm": _matmul_size,
    "MatMul": _matmul_size,
    "OneHot": _repeated_size,
    "Pad": _pad_size,
    "Range": _range_size,
    "Resize": _resize_size,
    "Tile": _repeated_size,
}
"""How many elements at most operators yield that may grow their inputs."""
