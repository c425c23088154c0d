"""Lowers one ONNX node: constants are folded at once, others go by their operator's rule."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from difflib import get_close_matches

import numpy as np

from spikec.compiler.onnx.fold import fold
from spikec.compiler.onnx.layout import batch_first, settled
from spikec.compiler.onnx.loader import names_read
from spikec.compiler.onnx.node import OnnxNode
from spikec.compiler.onnx.operators import broken_modules, foldings, rules
from spikec.compiler.onnx.scope import MALFORMED, Refusal, node_names
from spikec.compiler.onnx.values import Tensor, Value
from spikec.ir import InvalidModel, UnsupportedOperator


def lower(node: OnnxNode) -> None:
    """Add what a node computes to the graph and its results to the scope, or note its refusal."""
    try:
        _lower(node)
    except UnsupportedOperator as error:
        refusal = Refusal(node.name, node.proto.op_type, error.message, error.hint)
        node.scope.refusals.append(refusal)
    except MALFORMED as error:
        # A malformed node may break any rule of its operator.
        first = (str(error).strip() or type(error).__name__).splitlines()[0]
        node.invalid(f"malformed: {first}")


def _lower(node: OnnxNode) -> None:
    scope = node.scope
    given = [name for name in node.proto.input if name]
    if node.key == ("", "If") and scope.is_constant(given[0]):
        _lower_branch(node)
    elif all(map(scope.is_constant, given)) and (given or node.key == ("", "Constant")):
        scope.set_results(node.proto, fold(node))
    elif node.key not in rules():
        domain = f" of domain '{node.proto.domain}'" if node.proto.domain else ""
        node.refuse(f"operator {node.proto.op_type}{domain} is not supported", _unknown_hint(node))
    else:
        missing = [name for name in given if name not in scope.values]
        if missing and not scope.refusals:
            raise InvalidModel(f"input '{missing[0]}' is not defined before it", loc=node.name)
        if not missing:  # else it hangs on a refused node
            scope.set_results(node.proto, _lower_by_rule(node, given))


def _lower_by_rule(node: OnnxNode, given: Sequence[str]) -> list[Value]:
    values = [node.scope.values[name] for name in given]
    tensors = [value for value in values if isinstance(value, Tensor)]
    rule = rules()[node.key]
    behind = next((tensor for tensor in tensors if tensor.tail is not None), None)
    if rule.tail and behind is not None:
        return [behind] * len(node.proto.output)
    if rule.integers == "refused" and behind is None and any(t.grid is not None for t in tensors):
        node.refuse("it computes with integers", "insert a Cast or DequantizeLinear before it")
    if tensors:
        node.batch = tensors[0].batch
    if rule.layouts == "first" and behind is None:
        for name in given:
            value = node.scope.values[name]
            if isinstance(value, Tensor):
                node.scope.values[name] = batch_first(node, value)
        node.batch = 0
    result = rule.lower(node)
    results = [result] if isinstance(result, Tensor | np.ndarray) else list(result)
    if rule.layouts == "kept":
        results = [_relaid(node, value) for value in results]
    return _on_grid(node, tensors, results) if rule.integers == "kept" else results


def _relaid(node: OnnxNode, value: Value) -> Value:
    return settled(node, replace(value, batch=node.batch)) if isinstance(value, Tensor) else value


def _lower_branch(node: OnnxNode) -> None:
    """Lower the branch of an If whose condition is known."""
    scope = node.scope
    branch = node.subgraph("then_branch" if node.scalar(0) else "else_branch")
    scope.add_initializers(branch.initializer)
    needed = {info.name for info in branch.output}
    for proto in reversed(branch.node):
        if needed & set(proto.output):
            needed |= names_read(proto)
    scope.wanted |= needed
    for proto, name in zip(branch.node, node_names(branch.node), strict=True):
        if needed & set(proto.output):
            lower(OnnxNode(scope, node.builder, proto, f"{node.name}.{name}"))
    results = [scope.values.get(info.name) for info in branch.output]
    scope.set_results(node.proto, [value for value in results if value is not None])


def _on_grid(node: OnnxNode, inputs: Sequence[Tensor], results: Sequence[Value]) -> list[Value]:
    """The results on the grid of the inputs, which must share it."""
    grids = {tensor.grid for tensor in inputs}
    if grids == {None}:
        return list(results)
    grid = grids.pop()
    if grids or grid is None or len(grid.scale) > 1:
        node.refuse("its inputs are integers of different or per-channel scales")
    return [replace(r, grid=grid) if isinstance(r, Tensor) else r for r in results]


def _unknown_hint(node: OnnxNode) -> str:
    known = (*rules(), *foldings())
    close = get_close_matches(node.proto.op_type, [name for _, name in known], n=1)
    more = f" (did you mean {close[0]}?)" if close else ""
    broken = [f"; module {name} does not load: {why}" for name, why in broken_modules().items()]
    domain = node.key[0]
    foreign = f"; domain '{domain}' is unknown" if domain not in {d for d, _ in known} else ""
    return f"`spikec ops` lists what is supported{more}{foreign}{''.join(broken)}"
