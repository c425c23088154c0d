"""Walks an ONNX graph and builds a graph of stage ann.

Every ONNX value is either a constant (folded at once) or a `Tensor` of the graph being built.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from difflib import get_close_matches

import numpy as np
import onnx
from onnx import ModelProto, NodeProto

from spikec.compiler.onnx.attention import named_attention
from spikec.compiler.onnx.builder import GraphBuilder
from spikec.compiler.onnx.grid import off_grid
from spikec.compiler.onnx.layout import dissolved, settled
from spikec.compiler.onnx.loader import names_read
from spikec.compiler.onnx.lower import lower
from spikec.compiler.onnx.node import OnnxNode
from spikec.compiler.onnx.operators.quantiser import clipped_below
from spikec.compiler.onnx.scope import Refusal, Scope, node_names
from spikec.compiler.onnx.values import Grid
from spikec.ir import (
    F32,
    Graph,
    InvalidModel,
    Node,
    SpikecError,
    TensorType,
    UnsupportedOperator,
)
from spikec.ir.ops.input import Input


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
    """

    graph: Graph | None
    notes: list[str]
    refusals: list[Refusal]
    operators: dict[str, int]
    logits: list[str]
    source: str | None = None
    has_batch: bool = True

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
            return _with_or_without_batch(model, source, outputs)
    except SpikecError as error:
        if source is not None:
            error.loc = f"{source}: {error.loc}" if error.loc else source
        raise


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
    _add_inputs(scope, builder)
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


def _add_inputs(scope: Scope, builder: GraphBuilder) -> None:
    graph = scope.model.graph
    if graph.sparse_initializer:
        raise InvalidModel("sparse initializers are not supported", hint="store them densely")
    scope.add_initializers(graph.initializer)
    given = [info for info in graph.input if info.name not in scope.values]
    if not scope.has_batch:
        scope.is_single = True
        for info in given:
            _add_input(scope, builder, info)
        return
    sizes = {dims[0].dim_value for info in given if (dims := info.type.tensor_type.shape.dim)}
    fixed = sorted(size for size in sizes if size > 0)
    if len(fixed) > 1:
        raise InvalidModel(f"the inputs have different batch sizes: {fixed}")
    scope.batch = fixed[0] if fixed else 1
    scope.is_single = fixed == [1]
    for info in given:
        _add_input(scope, builder, info)


def _add_input(scope: Scope, builder: GraphBuilder, info: onnx.ValueInfoProto) -> None:
    kind, dims = info.type.tensor_type, info.type.tensor_type.shape.dim
    if not info.type.HasField("tensor_type") or not kind.HasField("shape"):
        raise InvalidModel(
            f"input '{info.name}' has no shape",
            hint=f"export with fixed shapes, or give one: `--shape {info.name}=1,3,224,224`",
        )
    if not dims and scope.has_batch:
        raise InvalidModel(f"input '{info.name}' has no batch axis")
    sample = dims[1:] if scope.has_batch else dims
    for axis, dim in enumerate(sample, len(dims) - len(sample)):
        if dim.dim_value <= 0:
            raise InvalidModel(
                f"axis {axis} of input '{info.name}' has no fixed size",
                hint="only the first (batch) axis may be dynamic; export with fixed shapes, or "
                f"give them: `--shape {info.name}={_open_shape(dims)}`",
            )
    shape = tuple(dim.dim_value for dim in sample)
    name = builder.unique_name(info.name)
    node = Node(name, Input(), (), TensorType(F32, shape), loc=info.name)
    grid = _input_grid(info.name, kind.elem_type)
    x = builder.append(node, shape)
    if not shape:
        x = replace(builder.emit(info.name, "reshape", [x], {"shape": (1,)}, {}), shape=())
    scope.values[info.name] = replace(x, grid=grid, batch=0 if scope.has_batch else None)


def _open_shape(dims: Iterable[onnx.TensorShapeProto.Dimension]) -> str:
    """A shape as `--shape` takes it, names where sizes are missing; one sample."""
    sizes = [str(dim.dim_value or dim.dim_param or "?") for dim in dims]
    return ",".join(["1", *sizes[1:]])


def _input_grid(name: str, elem_type: int) -> Grid | None:
    try:
        dtype = onnx.helper.tensor_dtype_to_np_dtype(elem_type)
    except (KeyError, ValueError, TypeError):
        raise InvalidModel(f"input '{name}' has the unknown element type {elem_type}") from None
    if dtype.kind in "iu":
        return Grid()
    if dtype.kind not in "fV":
        raise UnsupportedOperator(
            f"input '{name}' holds {dtype.name}, not numbers",
            hint="export with floats; truth values are 0 and 1",
        )
    return None


def _finish(
    scope: Scope, builder: GraphBuilder, imported: Imported, outputs: Sequence[str]
) -> None:
    logits: dict[str, str] = {}
    for name in outputs:
        value = scope.values.get(name)
        if value is None:
            raise InvalidModel(f"output '{name}' is not computed by any node")
        if isinstance(value, np.ndarray):
            raise InvalidModel(f"output '{name}' does not depend on the input")
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
        if tail is not None:
            note = f"{tail.operator} at the end is left out: outputs are its input"
            scope.notes.append(note)
    imported.logits = list(logits.values())
    name = scope.model.graph.name or "model"
    imported.graph = builder.finish(name, logits, imported.source)
