"""Walks an ONNX graph and builds a graph of stage ann.

Every ONNX value is either a constant (folded at once) or a `Tensor` of the graph being built.
Shapes here are per sample: the first ONNX axis is the batch and is dropped.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from difflib import get_close_matches
from typing import Any, NoReturn, cast

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import ModelProto, NodeProto, numpy_helper
from onnx.reference import ReferenceEvaluator

from spikec.compiler.onnx.loader import opset_of
from spikec.ir import (
    F32,
    Graph,
    InvalidGraph,
    InvalidModel,
    Node,
    Param,
    TensorType,
    UnsupportedOperator,
    op_of,
    verify,
)
from spikec.ir.op import AttrValue

Constant = NDArray[Any]
Lowering = Callable[["OnnxNode"], "Tensor | Sequence[Tensor]"]
LOWERINGS: dict[tuple[str, str], Lowering] = {}
"""(domain, op type) to the function that lowers it."""


def lowers(*op_types: str, domain: str = "") -> Callable[[Lowering], Lowering]:
    """Register a function as the lowering of ONNX operators."""

    def register(function: Lowering) -> Lowering:
        for op_type in op_types:
            if (domain, op_type) in LOWERINGS:
                raise ImportError(f"ONNX operator {op_type} is lowered twice")
            LOWERINGS[domain, op_type] = function
        return function

    return register


@dataclass(frozen=True, slots=True)
class Tensor:
    """A value of the graph being built; `tail` names an operator cut off after it."""

    name: str
    shape: tuple[int, ...]
    tail: str | None = None


@dataclass(frozen=True, slots=True)
class Refusal:
    """One node that cannot be converted."""

    node: str
    op: str
    reason: str
    hint: str | None


@dataclass(slots=True)
class Imported:
    """An imported model.

    Attributes:
        graph: Stage ann; None when nodes were refused.
        notes: What was left out or changed, for the report.
        refusals: All nodes that cannot be converted.
        operators: How often each ONNX operator occurs.
        logits: ONNX name of the value behind each output, before cut-off tails.
    """

    graph: Graph | None
    notes: list[str]
    refusals: list[Refusal]
    operators: dict[str, int]
    logits: list[str]

    def require(self) -> Graph:
        """The graph; raises UnsupportedOperator listing every refused node."""
        if self.graph is not None:
            return self.graph
        lines = [f"{r.node} ({r.op}): {r.reason}" for r in self.refusals]
        hints = list(dict.fromkeys(r.hint for r in self.refusals if r.hint))
        what = "1 node" if len(lines) == 1 else f"{len(lines)} nodes"
        raise UnsupportedOperator(
            f"{what} cannot be converted:\n  " + "\n  ".join(lines), hint="; ".join(hints) or None
        )


class OnnxNode:
    """One ONNX node as its lowering sees it: inputs resolved, attributes read, errors located."""

    def __init__(self, importer: Importer, proto: NodeProto, name: str) -> None:
        self.importer = importer
        self.proto = proto
        self.name = name
        self.opset = importer.opset
        self._attrs = {a.name: onnx.helper.get_attribute_value(a) for a in proto.attribute}

    def refuse(self, reason: str, hint: str | None = None) -> NoReturn:
        """Refuse the node with a reason and what would help."""
        raise UnsupportedOperator(reason, loc=self.name, hint=hint)

    def has(self, index: int) -> bool:
        """Whether the optional input is given."""
        return index < len(self.proto.input) and self.proto.input[index] != ""

    def value(self, index: int) -> Tensor | Constant:
        """An input, whatever it is."""
        if not self.has(index):
            raise InvalidModel(f"{self.proto.op_type} lacks input {index}", loc=self.name)
        return self.importer.values[self.proto.input[index]]

    def is_constant(self, index: int) -> bool:
        """Whether an input is known at compile time."""
        return isinstance(self.value(index), np.ndarray)

    def tensor(self, index: int = 0) -> Tensor:
        """An input that depends on the data; refuses a constant or a value behind a tail."""
        value = self.value(index)
        if isinstance(value, np.ndarray):
            self.refuse(f"input {index} is a constant where data is expected")
        if value.tail is not None:
            self.refuse(
                f"it reads the result of {value.tail}, which is only supported at the end",
                "remove it from the model, or export the network up to the logits",
            )
        return value

    def constant(self, index: int) -> Constant:
        """An input that must be known at compile time, as it stands in the model."""
        value = self.value(index)
        if not isinstance(value, np.ndarray):
            self.refuse(f"input {index} must be a constant, not computed from the data")
        return value

    def weights(self, index: int) -> NDArray[np.float32]:
        """A constant input as float32; raises InvalidModel for NaN or infinite values."""
        array = self.constant(index)
        found = np.asarray(array, dtype=np.float32)
        if not np.isfinite(found).all():
            raise InvalidModel(
                f"'{self.proto.input[index]}' holds NaN or infinite values", loc=self.name
            )
        return found

    def attr(self, name: str, default: Any = None) -> Any:
        """An attribute's value; lists as tuples, text as str."""
        value = self._attrs.get(name, default)
        if isinstance(value, bytes):
            return value.decode(errors="replace")
        return tuple(value) if isinstance(value, list) else value

    def emit(
        self,
        op: str,
        inputs: Sequence[Tensor],
        attrs: Mapping[str, AttrValue] | None = None,
        params: Mapping[str, Constant] | None = None,
    ) -> Tensor:
        """Add a node to the graph being built."""
        return self.importer.emit(self, op, inputs, attrs or {}, params or {})


@dataclass(slots=True)
class Importer:
    """The state of one import."""

    model: ModelProto
    source: str | None
    opset: int
    values: dict[str, Tensor | Constant] = field(default_factory=dict)
    nodes: list[Node] = field(default_factory=list)
    params: dict[str, Param] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    refusals: list[Refusal] = field(default_factory=list)
    types: dict[str, TensorType] = field(default_factory=dict)
    batch: int = 1

    def emit(
        self,
        origin: OnnxNode,
        op: str,
        inputs: Sequence[Tensor],
        attrs: Mapping[str, AttrValue],
        params: Mapping[str, Constant],
    ) -> Tensor:
        name = self.fresh(origin.name)
        roles = {}
        for role, array in params.items():
            roles[role] = f"{name}.{role}"
            self.params[roles[role]] = Param.of(array, F32)
        node = Node(
            name=name,
            op=op,
            inputs=tuple(tensor.name for tensor in inputs),
            type=TensorType(F32, ()),
            attrs=attrs,
            params=roles,
            loc=origin.name,
        )
        types = {role: self.params[param].type for role, param in roles.items()}
        try:
            shape = op_of(node).infer([self.types[i] for i in node.inputs], node.attrs, types)
        except InvalidGraph as error:
            raise InvalidModel(
                f"{origin.proto.op_type}: {error.message}", loc=origin.name
            ) from None
        return self.add(node, shape)

    def add(self, node: Node, shape: tuple[int, ...]) -> Tensor:
        """Append a node whose result has `shape`."""
        self.types[node.name] = TensorType(F32, shape)
        self.nodes.append(replace(node, type=self.types[node.name]))
        return Tensor(node.name, shape)

    def fresh(self, wanted: str) -> str:
        """A name for the graph's text, unique, as close to `wanted` as its letters allow."""
        base = re.sub(r"[^A-Za-z0-9_.]+", "_", wanted).strip("_.") or "value"
        base = base if re.match(r"[A-Za-z_]", base) else f"_{base}"
        name, count = base, 1
        while name in self.types:
            count += 1
            name = f"{base}_{count}"
        return name


def import_model(model: ModelProto, source: str | None = None) -> Imported:
    """Import an ONNX model.

    Args:
        model: A checked model, external data loaded.
        source: Its file name, for errors.

    Returns:
        The graph, or all refusals.

    Raises:
        InvalidModel: when the model contradicts itself or holds NaN weights.
    """
    importer = Importer(model, source, opset_of(model))
    initial = {tensor.name: tensor for tensor in model.graph.initializer}
    for name, tensor in initial.items():
        importer.values[name] = numpy_helper.to_array(tensor)
    for info in model.graph.input:
        if info.name not in initial:
            _add_input(importer, info)
    names = _node_names(model.graph.node)
    for proto, name in zip(model.graph.node, names, strict=True):
        try:
            _lower(importer, OnnxNode(importer, proto, name))
        except UnsupportedOperator as error:
            importer.refusals.append(Refusal(name, proto.op_type, error.message, error.hint))
    operators: dict[str, int] = {}
    for proto in model.graph.node:
        operators[proto.op_type] = operators.get(proto.op_type, 0) + 1
    imported = Imported(None, importer.notes, importer.refusals, operators, [])
    if not importer.refusals:
        _finish(importer, imported)
    return imported


def _add_input(importer: Importer, info: onnx.ValueInfoProto) -> None:
    dims = info.type.tensor_type.shape.dim
    if not info.type.HasField("tensor_type") or not info.type.tensor_type.HasField("shape"):
        raise InvalidModel(f"input '{info.name}' has no shape", hint="export with fixed shapes")
    if len(dims) < 2:
        raise InvalidModel(f"input '{info.name}' needs a batch axis and at least one more")
    for axis, dim in enumerate(dims[1:], 1):
        if dim.dim_value <= 0:
            raise InvalidModel(
                f"axis {axis} of input '{info.name}' has no fixed size",
                hint="only the first (batch) axis may be dynamic; export with fixed shapes",
            )
    importer.batch = max(dims[0].dim_value, 1)
    name = importer.fresh(info.name)
    shape = tuple(dim.dim_value for dim in dims[1:])
    node = Node(name, "input", (), TensorType(F32, shape), loc=info.name)
    importer.values[info.name] = importer.add(node, shape)


def _node_names(nodes: Iterable[NodeProto]) -> list[str]:
    counts: dict[str, int] = {}
    names = []
    for proto in nodes:
        index = counts.get(proto.op_type, 0)
        counts[proto.op_type] = index + 1
        names.append(proto.name or f"{proto.op_type}_{index}")
    return names


def _lower(importer: Importer, node: OnnxNode) -> None:
    proto = node.proto
    given = [name for name in proto.input if name]
    key = ("" if proto.domain == "ai.onnx" else proto.domain, proto.op_type)
    constant = all(isinstance(importer.values.get(name), np.ndarray) for name in given)
    if constant and (given or proto.op_type == "Constant"):
        _fold(importer, node)
        return
    if key not in LOWERINGS:
        domain = f" of domain '{proto.domain}'" if proto.domain else ""
        node.refuse(f"operator {proto.op_type}{domain} is not supported", _hint(proto.op_type))
    missing = [name for name in given if name not in importer.values]
    if missing and importer.refusals:
        return  # it hangs on a refused node
    if missing:
        raise InvalidModel(f"input '{missing[0]}' is not defined before it", loc=node.name)
    result = LOWERINGS[key](node)
    tensors = [result] if isinstance(result, Tensor) else result
    used = [name for name in proto.output if name]
    importer.values.update(zip(used, tensors, strict=False))


def _hint(op_type: str) -> str:
    known = [name for _, name in LOWERINGS]
    close = get_close_matches(op_type, known, n=1)
    more = f" (did you mean {close[0]}?)" if close else ""
    return f"`spikec ops` lists what is supported{more}"


def _fold(importer: Importer, node: OnnxNode) -> None:
    """Evaluate a node whose inputs are all constants."""
    proto = node.proto
    feeds = {name: importer.values[name] for name in proto.input if name}
    graph = onnx.helper.make_graph(
        [proto],
        "fold",
        [
            onnx.helper.make_tensor_value_info(
                name, onnx.helper.np_dtype_to_tensor_dtype(cast(Constant, array).dtype), None
            )
            for name, array in feeds.items()
        ],
        [onnx.helper.make_empty_tensor_value_info(name) for name in proto.output if name],
    )
    model = onnx.helper.make_model(graph, opset_imports=importer.model.opset_import)
    try:
        results = ReferenceEvaluator(model).run(None, feeds)
    except Exception as error:  # any operator of the evaluator may fail in its own way
        first = (str(error).strip() or type(error).__name__).splitlines()[0]
        node.refuse(f"constant {proto.op_type} cannot be evaluated: {first}")
    names = [name for name in proto.output if name]
    importer.values.update(zip(names, map(np.asarray, results), strict=True))


def _finish(importer: Importer, imported: Imported) -> None:
    outputs = []
    for info in importer.model.graph.output:
        value = importer.values.get(info.name)
        if value is None:
            raise InvalidModel(f"output '{info.name}' is not computed by any node")
        if isinstance(value, np.ndarray):
            raise InvalidModel(f"output '{info.name}' does not depend on the input")
        outputs.append(value.name)
        if value.tail is not None:
            importer.notes.append(f"{value.tail} at the end is left out: outputs are its input")
    imported.logits = [info.name for info in importer.model.graph.output]
    graph = Graph(
        name=importer.fresh(importer.model.graph.name or "model"),
        stage="ann",
        steps=0,
        nodes=tuple(importer.nodes),
        outputs=tuple(dict.fromkeys(outputs)),
        params=importer.params,
        source=importer.source,
    )
    imported.graph = verify(remove_dead(graph))


def remove_dead(graph: Graph) -> Graph:
    """The graph without nodes that no output depends on (inputs stay)."""
    live = set(graph.outputs)
    for node in reversed(graph.nodes):
        if node.name in live:
            live.update(node.inputs)
    return graph.with_nodes(n for n in graph.nodes if n.name in live or n.op == "input")
