"""Walks an ONNX graph and builds a graph of stage ann.

Every ONNX value is either a constant (folded at once) or a `Tensor` of the graph being built.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from difflib import get_close_matches

import numpy as np
from onnx import ModelProto, NodeProto

from spikec.compiler.onnx.attention import named_attention
from spikec.compiler.onnx.builder import GraphBuilder
from spikec.compiler.onnx.grid import off_grid
from spikec.compiler.onnx.inputs import add_inputs
from spikec.compiler.onnx.layout import dissolved, settled
from spikec.compiler.onnx.loader import names_read
from spikec.compiler.onnx.lower import lower
from spikec.compiler.onnx.node import OnnxNode
from spikec.compiler.onnx.operators.quantiser import clipped_below
from spikec.compiler.onnx.operators.refused import RANDOM
from spikec.compiler.onnx.scope import Refusal, Scope, node_names
from spikec.ir import (
    Graph,
    InvalidModel,
    SpikecError,
    UnsupportedOperator,
)


@dataclass(slots=True)
class Imported:
    """An imported model.

    Attributes:
        graph: Stage ann; None when nodes were refused.
        notes: What was left out or changed, for the report.
        refusals: All nodes that cannot be converted.
        operators: How often each ONNX operator occurs.
        logits: ONNX name of the value that each output of the graph stands for: the model's
            output, or what a cut-off tail reads.
        source: File name of the model.
        has_batch: Whether the model's inputs have a batch axis; else each sample is a whole input.
        class_axes: By name of those of `logits` that a softmax or an ArgMax was cut off from, its
            axis per sample.
    """

    graph: Graph | None
    notes: list[str]
    refusals: list[Refusal]
    operators: dict[str, int]
    logits: list[str]
    source: str | None = None
    has_batch: bool = True
    class_axes: dict[str, int] = field(default_factory=dict)

    def require(self) -> Graph:
        """The graph; raises UnsupportedOperator listing every refused node."""
        if self.graph is not None:
            return self.graph
        lines = [f"{r.node} ({r.op}): {r.reason}" for r in self.refusals]
        hints = list(dict.fromkeys(r.hint for r in self.refusals if r.hint))
        what = "1 node" if len(lines) == 1 else f"{len(lines)} nodes"
        raise UnsupportedOperator(
            f"{what} cannot be converted:\n  " + "\n  ".join(lines),
            loc=self.source,
            hint="; ".join(hints) or None,
        )


def import_model(
    model: ModelProto, source: str | None = None, output: Sequence[str] | str | None = None
) -> Imported:
    """Import an ONNX model.

    Args:
        model: A checked model, external data loaded.
        source: Its file name, for errors.
        output: Names of the outputs to keep (any ONNX value); all outputs by default.

    Returns:
        The graph, or all refusals.

    Raises:
        InvalidModel: when the model contradicts itself or holds NaN weights.
        UnsupportedOperator: when an input has a type or shape that cannot be converted.
    """
    chosen = [output] if isinstance(output, str) else output
    outputs = list(chosen or (info.name for info in model.graph.output))
    try:
        with np.errstate(all="ignore"):  # what overflows is found where params are made
            return _without_random_outputs(model, source, outputs)
    except SpikecError as error:
        if source is not None:
            error.loc = f"{source}: {error.loc}" if error.loc else source
        raise


def _without_random_outputs(model: ModelProto, source: str | None, outputs: list[str]) -> Imported:
    """The model without the outputs that are drawn at random, where others are not."""
    imported = _with_or_without_batch(model, source, outputs)
    if not imported.refusals or any(r.op not in RANDOM for r in imported.refusals):
        return imported
    drawn = {name for proto in model.graph.node if proto.op_type in RANDOM for name in proto.output}
    kept = [name for name in outputs if not drawn & _values_behind(model, [name])]
    if not kept:
        return imported
    imported = _with_or_without_batch(model, source, kept)
    left_out = (name for name in outputs if name not in kept)
    imported.notes += [f"output '{name}' is left out: it is random" for name in left_out]
    return imported


def _with_or_without_batch(model: ModelProto, source: str | None, outputs: list[str]) -> Imported:
    """The model with its inputs' first axis as batch, or as one sample where that fails."""
    if not _may_lack_batch(model):
        return _import(model, source, outputs)
    try:
        imported, failure = _import(model, source, outputs), None
    except SpikecError as error:
        imported, failure = None, error
    if imported is None or imported.graph is None:
        try:
            whole = _import(model, source, outputs, has_batch=False)
        except SpikecError:
            whole = None
        if whole is not None and whole.graph is not None:
            whole.notes.append("the inputs have no batch axis: each sample is a whole input")
            return whole
    if imported is None:
        assert failure is not None
        raise failure
    return imported


def _may_lack_batch(model: ModelProto) -> bool:
    """Whether all sizes are fixed, and some input's first axis is no batch of one."""
    constants = {tensor.name for tensor in model.graph.initializer}
    infos = [info for info in model.graph.input if info.name not in constants]
    shapes = [[d.dim_value for d in info.type.tensor_type.shape.dim] for info in infos]
    return all(all(shape) for shape in shapes) and any(shape[:1] != [1] for shape in shapes)


def _import(
    model: ModelProto, source: str | None, outputs: list[str], has_batch: bool = True
) -> Imported:
    scope, builder = Scope(model, has_batch=has_batch), GraphBuilder()
    scope.wanted = _values_behind(model, outputs)
    add_inputs(scope, builder)
    for proto, name in zip(model.graph.node, node_names(model.graph.node), strict=True):
        if any(value in scope.wanted for value in proto.output):
            lower(OnnxNode(scope, builder, proto, name))
    operators: dict[str, int] = {}
    for proto in model.graph.node:
        operators[proto.op_type] = operators.get(proto.op_type, 0) + 1
    imported = Imported(None, [], scope.refusals, operators, [], source, has_batch)
    imported.refusals = named_attention(model.graph.node, scope.refusals)
    if not scope.refusals:
        _finish(scope, builder, imported, outputs)
    imported.notes = list(dict.fromkeys(scope.notes))
    return imported


def _values_behind(model: ModelProto, outputs: Sequence[str]) -> set[str]:
    """Names of all values that the outputs depend on, theirs included."""
    known = {name for proto in model.graph.node for name in proto.output if name}
    known |= {info.name for info in model.graph.input}
    for name in outputs:
        if name not in known:
            close = get_close_matches(name, known, n=1)
            hint = f"did you mean '{close[0]}'?" if close else None
            raise InvalidModel(f"output '{name}' is not computed by any node", hint=hint)
    needed = set(outputs)
    for proto in reversed(model.graph.node):
        if any(name in needed for name in proto.output):
            needed.update(names_read(proto))
    return needed


def _finish(
    scope: Scope, builder: GraphBuilder, imported: Imported, outputs: Sequence[str]
) -> None:
    logits: dict[str, str] = {}
    constant = [name for name in outputs if scope.is_constant(name)]
    if len(constant) == len(outputs):
        raise InvalidModel(f"output '{constant[0]}' does not depend on the input")
    scope.notes += [f"output '{name}' is left out: it is constant" for name in constant]
    for name in outputs:
        value = scope.values.get(name)
        if value is None:
            raise InvalidModel(f"output '{name}' is not computed by any node")
        if isinstance(value, np.ndarray):
            continue
        if value.batch and not scope.is_single:
            raise UnsupportedOperator(f"the batch is axis {value.batch} of output '{name}'")
        protos = (proto for proto in scope.model.graph.node if name in proto.output)
        node = OnnxNode(scope, builder, next(protos, NodeProto()), name)
        if value.batch:
            value = settled(node, dissolved(node, value))
        tail, value = value.tail, clipped_below(node, value)
        if value.grid is not None:
            value = off_grid(node, value)
        logits.setdefault(value.name, tail.value if tail else name)
        if tail is not None and tail.classes is not None:
            imported.class_axes.setdefault(logits[value.name], tail.classes)
        if tail is not None:
            note = f"{tail.operator} at the end is left out: outputs are its input"
            scope.notes.append(note)
    imported.logits = list(logits.values())
    name = scope.model.graph.name or "model"
    imported.graph = builder.finish(name, logits, imported.source)
