"""Walks an ONNX graph and builds a graph of stage ann.

Every ONNX value is either a constant (folded at once) or a `Tensor` of the graph being built.
Shapes here are per sample: the batch axis, the first of an ONNX value, is dropped.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from difflib import get_close_matches

import numpy as np
import onnx
from onnx import ModelProto, NodeProto

from spikec.compiler.onnx.fold import LIMIT
from spikec.compiler.onnx.loader import names_read, opset_of
from spikec.compiler.onnx.node import Constant, Grid, OnnxNode, Tensor, Value
from spikec.compiler.onnx.visit import Refusal, constant_of, node_names, visit
from spikec.compiler.rewrite import remove_dead
from spikec.ir import (
    F32,
    Graph,
    InvalidGraph,
    InvalidModel,
    Node,
    Param,
    SpikecError,
    TensorType,
    UnsupportedOperator,
    op_of,
    verify,
)
from spikec.ir.op import AttrValue


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
    """

    graph: Graph | None
    notes: list[str]
    refusals: list[Refusal]
    operators: dict[str, int]
    logits: list[str]
    source: str | None = None

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


@dataclass(slots=True)
class Importer:
    """The state of one import.

    Attributes:
        model: The model.
        source: Its file name.
        opset: Version of the default operator set.
        values: Constants and tensors by ONNX name.
        wanted: ONNX names that anything reads.
        made: Nodes of the graph being built, by name, in order.
        params: Their arrays.
        bounded: For a clamped tensor, the tensor before and the bounds.
        notes: For the report.
        refusals: Refused nodes.
        batch: Size of the batch axis; 1 where it is dynamic.
        folded: Elements of all constants computed so far.
    """

    model: ModelProto
    source: str | None
    opset: int
    values: dict[str, Value] = field(default_factory=dict)
    wanted: set[str] = field(default_factory=set)
    made: dict[str, Node] = field(default_factory=dict)
    params: dict[str, Param] = field(default_factory=dict)
    bounded: dict[str, tuple[Tensor, float, float]] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    refusals: list[Refusal] = field(default_factory=list)
    batch: int = 1
    folded: int = 0

    def emit(
        self,
        origin: OnnxNode,
        op: str,
        inputs: Sequence[Tensor],
        attrs: Mapping[str, AttrValue],
        params: Mapping[str, Constant],
    ) -> Tensor:
        """Add a node; raises InvalidModel when inputs, attributes and params do not fit."""
        name = self.fresh(origin.name)
        roles = {role: f"{name}.{role}" for role in params}
        arrays = {role: Param.of(array, F32) for role, array in params.items()}
        node = Node(
            name=name,
            op=op,
            inputs=tuple(tensor.name for tensor in inputs),
            type=TensorType(F32, ()),
            attrs=attrs,
            params=roles,
            loc=origin.name,
        )
        types = {role: param.type for role, param in arrays.items()}
        try:
            shape = op_of(node).infer([self.made[i].type for i in node.inputs], attrs, types)
        except InvalidGraph as error:
            origin.invalid(error.message)
        for role, param in arrays.items():
            if param.array is None or not np.isfinite(param.array).all():
                origin.invalid(f"its {role} holds NaN or infinite values")
            self.params[roles[role]] = param
        return self.add(node, shape)

    def add(self, node: Node, shape: tuple[int, ...]) -> Tensor:
        """Append a node whose result has `shape`."""
        self.check_size(node.loc, math.prod(shape))
        self.made[node.name] = replace(node, type=TensorType(F32, shape))
        return Tensor(node.name, shape)

    def check_size(self, loc: str | None, size: int) -> None:
        """Raise InvalidModel for an empty value, and for one of impossible size."""
        if not 0 < size <= LIMIT:
            raise InvalidModel(f"a value of {size} elements per sample", loc=loc)

    def fresh(self, wanted: str) -> str:
        """A name for the graph's text, unique, as close to `wanted` as its letters allow."""
        base = re.sub(r"[^A-Za-z0-9_.]+", "_", wanted).strip("_.") or "value"
        base = base if re.match(r"[A-Za-z_]", base) else f"_{base}"
        name, count = base, 1
        while name in self.made:
            count += 1
            name = f"{base}_{count}"
        return name


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
    importer = Importer(model, source, opset_of(model))
    try:
        with np.errstate(all="ignore"):  # what overflows is found where params are made
            return _import(importer, list(chosen or (info.name for info in model.graph.output)))
    except SpikecError as error:
        if source is not None:
            error.loc = f"{source}: {error.loc}" if error.loc else source
        raise


def _import(importer: Importer, outputs: list[str]) -> Imported:
    graph = importer.model.graph
    names = node_names(graph.node)
    needed = _needed(importer, outputs)
    _add_inputs(importer)
    for proto, name in zip(graph.node, names, strict=True):
        if any(value in needed for value in proto.output):
            visit(importer, OnnxNode(importer, proto, name))
    operators: dict[str, int] = {}
    for proto in graph.node:
        operators[proto.op_type] = operators.get(proto.op_type, 0) + 1
    notes = list(dict.fromkeys(importer.notes))
    imported = Imported(None, notes, importer.refusals, operators, [], importer.source)
    if not importer.refusals:
        _finish(importer, imported, outputs)
    return imported


def _needed(importer: Importer, outputs: Sequence[str]) -> set[str]:
    """Names of all values that the outputs depend on."""
    known = {name for proto in importer.model.graph.node for name in proto.output if name}
    known |= {info.name for info in importer.model.graph.input}
    for name in outputs:
        if name not in known:
            close = get_close_matches(name, known, n=1)
            hint = f"did you mean '{close[0]}'?" if close else None
            raise InvalidModel(f"output '{name}' is not computed by any node", hint=hint)
    needed = set(outputs)
    for proto in reversed(importer.model.graph.node):
        if any(name in needed for name in proto.output):
            needed.update(names_read(proto))
    importer.wanted = needed
    return needed


def _add_inputs(importer: Importer) -> None:
    graph = importer.model.graph
    if graph.sparse_initializer:
        raise InvalidModel("sparse initializers are not supported", hint="store them densely")
    for tensor in graph.initializer:
        importer.values[tensor.name] = constant_of(tensor)
    given = [info for info in graph.input if info.name not in importer.values]
    sizes = {dims[0].dim_value for info in given if (dims := info.type.tensor_type.shape.dim)}
    fixed = sorted(size for size in sizes if size > 0)
    if len(fixed) > 1:
        raise InvalidModel(f"the inputs have different batch sizes: {fixed}")
    importer.batch = fixed[0] if fixed else 1
    for info in given:
        _add_input(importer, info)


def _add_input(importer: Importer, info: onnx.ValueInfoProto) -> None:
    kind, dims = info.type.tensor_type, info.type.tensor_type.shape.dim
    if not info.type.HasField("tensor_type") or not kind.HasField("shape"):
        raise InvalidModel(f"input '{info.name}' has no shape", hint="export with fixed shapes")
    if not dims:
        raise InvalidModel(f"input '{info.name}' has no batch axis")
    for axis, dim in enumerate(dims[1:], 1):
        if dim.dim_value <= 0:
            raise InvalidModel(
                f"axis {axis} of input '{info.name}' has no fixed size",
                hint="only the first (batch) axis may be dynamic; export with fixed shapes",
            )
    shape = tuple(dim.dim_value for dim in dims[1:])
    node = Node(importer.fresh(info.name), "input", (), TensorType(F32, shape), loc=info.name)
    grid = _input_grid(info.name, kind.elem_type)
    importer.values[info.name] = replace(importer.add(node, shape), grid=grid)


def _input_grid(name: str, elem_type: int) -> Grid | None:
    try:
        dtype = onnx.helper.tensor_dtype_to_np_dtype(elem_type)
    except (KeyError, ValueError, TypeError):
        raise InvalidModel(f"input '{name}' has the unknown element type {elem_type}") from None
    if dtype.kind in "iu":
        return Grid()
    if dtype.kind not in "fV":
        raise UnsupportedOperator(f"input '{name}' holds {dtype.name}, not numbers")
    return None


def _finish(importer: Importer, imported: Imported, outputs: Sequence[str]) -> None:
    logits: dict[str, str] = {}
    for name in outputs:
        value = importer.values.get(name)
        if value is None:
            raise InvalidModel(f"output '{name}' is not computed by any node")
        if isinstance(value, np.ndarray):
            raise InvalidModel(f"output '{name}' does not depend on the input")
        if value.batch != 0:
            raise UnsupportedOperator(f"the batch is axis {value.batch} of output '{name}'")
        if value.grid is not None:
            value = _as_reals(importer, name, value)
        logits.setdefault(value.name, value.tail.value if value.tail else name)
        if value.tail is not None:
            note = f"{value.tail.operator} at the end is left out: outputs are its input"
            imported.notes.append(note)
    imported.notes = list(dict.fromkeys(imported.notes))
    imported.logits = list(logits.values())
    graph = Graph(
        name=importer.fresh(importer.model.graph.name or "model"),
        stage="ann",
        steps=0,
        nodes=tuple(importer.made.values()),
        outputs=tuple(logits),
        params=importer.params,
        source=importer.source,
    )
    imported.graph = verify(remove_dead(graph))


def _as_reals(importer: Importer, name: str, value: Tensor) -> Tensor:
    """An output of integers as a value of their own."""
    from spikec.compiler.onnx.shape import off_grid

    made = (proto for proto in importer.model.graph.node if name in proto.output)
    return off_grid(OnnxNode(importer, next(made, NodeProto()), name), value)
