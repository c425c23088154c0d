"""Lowers one ONNX node after the other: constants at once, others by their operator's rule."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from difflib import get_close_matches
from typing import TYPE_CHECKING

import numpy as np
import onnx
from onnx import NodeProto, numpy_helper

from spikec.compiler.onnx.fold import LIMIT, fold
from spikec.compiler.onnx.loader import names_read
from spikec.compiler.onnx.node import (
    FOLDS,
    LOWERINGS,
    MALFORMED,
    Constant,
    OnnxNode,
    Tensor,
    Value,
)
from spikec.ir import InvalidModel, UnsupportedOperator

if TYPE_CHECKING:
    from spikec.compiler.onnx.importer import Importer


@dataclass(frozen=True, slots=True)
class Refusal:
    """One node that cannot be converted."""

    node: str
    op: str
    reason: str
    hint: str | None


def visit(importer: Importer, node: OnnxNode) -> None:
    """Lower a node, or note its refusal."""
    try:
        _lower(importer, node)
    except UnsupportedOperator as error:
        refusal = Refusal(node.name, node.proto.op_type, error.message, error.hint)
        importer.refusals.append(refusal)
    except MALFORMED as error:
        # A malformed node may break any rule of its operator.
        first = (str(error).strip() or type(error).__name__).splitlines()[0]
        node.invalid(f"malformed: {first}")


def _lower(importer: Importer, node: OnnxNode) -> None:
    given = [name for name in node.proto.input if name]
    constant = all(isinstance(importer.values.get(name), np.ndarray) for name in given)
    if node.key == ("", "If") and isinstance(importer.values.get(given[0]), np.ndarray):
        _take_branch(importer, node)
        return
    if constant and (given or node.proto.op_type == "Constant"):
        _store(importer, node, fold(node))
        return
    if node.key not in LOWERINGS:
        domain = f" of domain '{node.proto.domain}'" if node.proto.domain else ""
        hint = _hint(node.proto.op_type)
        node.refuse(f"operator {node.proto.op_type}{domain} is not supported", hint)
    missing = [name for name in given if name not in importer.values]
    if missing and importer.refusals:
        return  # it hangs on a refused node
    if missing:
        raise InvalidModel(f"input '{missing[0]}' is not defined before it", loc=node.name)
    tensors = [value for name in given if isinstance(value := importer.values[name], Tensor)]
    rule = LOWERINGS[node.key]
    behind = next((tensor for tensor in tensors if tensor.tail is not None), None)
    if rule.tail and behind is not None:
        _store(importer, node, [behind] * len(node.proto.output))
        return
    result = rule.lower(node)
    results = [result] if isinstance(result, Tensor | np.ndarray) else list(result)
    if rule.integers == "kept":
        results = _on_grid(node, tensors, results)
    _store(importer, node, results)


def _take_branch(importer: Importer, node: OnnxNode) -> None:
    """Lower the branch of an If whose condition is known."""
    branch: onnx.GraphProto = node.attr("then_branch" if node.scalar(0) else "else_branch")
    for tensor in branch.initializer:
        importer.values[tensor.name] = constant_of(tensor)
    needed = {info.name for info in branch.output}
    for proto in reversed(branch.node):
        if needed & set(proto.output):
            needed |= names_read(proto)
    importer.wanted |= needed
    for proto, name in zip(branch.node, node_names(branch.node), strict=True):
        if needed & set(proto.output):
            visit(importer, OnnxNode(importer, proto, f"{node.name}.{name}"))
    results = [importer.values.get(info.name) for info in branch.output]
    _store(importer, node, [value for value in results if value is not None])


def _on_grid(node: OnnxNode, inputs: Sequence[Tensor], results: Sequence[Value]) -> list[Value]:
    """The results on the grid of the inputs, which must share it."""
    grids = {tensor.grid for tensor in inputs}
    if grids == {None}:
        return list(results)
    grid = grids.pop()
    if grids or grid is None or len(grid.scale) > 1:
        node.refuse("its inputs are integers of different or per-channel scales")
    return [replace(r, grid=grid) if isinstance(r, Tensor) else r for r in results]


def _store(importer: Importer, node: OnnxNode, results: Sequence[Value]) -> None:
    for name, value in zip(node.proto.output, results, strict=False):
        if name:
            importer.values[name] = value if isinstance(value, Tensor) else np.asarray(value)


def _hint(op_type: str) -> str:
    known = [name for _, name in (*LOWERINGS, *FOLDS)]
    close = get_close_matches(op_type, known, n=1)
    more = f" (did you mean {close[0]}?)" if close else ""
    return f"`spikec ops` lists what is supported{more}"


def node_names(nodes: Iterable[NodeProto]) -> list[str]:
    """Names of nodes; those without one are numbered by operator."""
    counts: dict[str, int] = {}
    names = []
    for proto in nodes:
        index = counts.get(proto.op_type, 0)
        counts[proto.op_type] = index + 1
        names.append(proto.name or f"{proto.op_type}_{index}")
    return names


def constant_of(tensor: onnx.TensorProto) -> Constant:
    """The array of a tensor; raises InvalidModel for a damaged one."""
    if math.prod(tensor.dims) > LIMIT or min(tensor.dims, default=0) < 0:
        raise InvalidModel(f"tensor '{tensor.name}' has the impossible shape {list(tensor.dims)}")
    try:
        return np.asarray(numpy_helper.to_array(tensor))
    except MALFORMED as error:
        raise InvalidModel(f"tensor '{tensor.name}' is damaged: {error}") from None
