"""The ONNX side of an import: what is known of the model's values, and what was said about them."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np
from onnx import ModelProto, NodeProto, TensorProto, numpy_helper

from spikec.compiler.onnx.loader import opset_of
from spikec.compiler.onnx.values import MOST_ELEMENTS, Constant, Tensor, Value
from spikec.ir import InvalidModel

MALFORMED = (ArithmeticError, LookupError, MemoryError, RuntimeError, TypeError, ValueError)
"""What computing with a malformed node or tensor may raise."""


@dataclass(frozen=True, slots=True)
class Refusal:
    """One node that cannot be converted."""

    node: str
    op: str
    reason: str
    hint: str | None


@dataclass(slots=True)
class Scope:
    """The ONNX values that are known so far, by name.

    Attributes:
        model: The model.
        values: Constants, and tensors of the graph being built.
        wanted: Names that anything reads.
        batch: Size of the batch axis; 1 where it is dynamic.
        is_single: Whether the model is fixed to a batch of one.
        has_batch: Whether the first axis of the inputs is the batch.
        folded: Elements of all constants computed so far.
        notes: What was left out or changed, for the report.
        refusals: Nodes that cannot be converted.
    """

    model: ModelProto
    values: dict[str, Value] = field(default_factory=dict)
    wanted: set[str] = field(default_factory=set)
    batch: int = 1
    is_single: bool = False
    has_batch: bool = True
    folded: int = 0
    notes: list[str] = field(default_factory=list)
    refusals: list[Refusal] = field(default_factory=list)

    @property
    def opset(self) -> int:
        """Version of the default operator set."""
        return opset_of(self.model)

    def add_initializers(self, tensors: Iterable[TensorProto]) -> None:
        """Know the constants of a graph; raises InvalidModel for a damaged one."""
        for tensor in tensors:
            self.values[tensor.name] = constant_of(tensor)

    def is_constant(self, name: str) -> bool:
        """Whether a value is known, and known to be a constant."""
        return isinstance(self.values.get(name), np.ndarray)

    def set_results(self, proto: NodeProto, results: Sequence[Value]) -> None:
        """Know the outputs of a node; an output without a name is dropped."""
        for name, value in zip(proto.output, results, strict=False):
            if name:
                self.values[name] = value if isinstance(value, Tensor) else np.asarray(value)


def constant_of(tensor: TensorProto) -> Constant:
    """The array of a tensor; raises InvalidModel for a damaged one."""
    if math.prod(tensor.dims) > MOST_ELEMENTS or min(tensor.dims, default=0) < 0:
        raise InvalidModel(f"tensor '{tensor.name}' has the impossible shape {list(tensor.dims)}")
    try:
        return np.asarray(numpy_helper.to_array(tensor))
    except MALFORMED as error:
        raise InvalidModel(f"tensor '{tensor.name}' is damaged: {error}") from None


def node_names(nodes: Iterable[NodeProto]) -> list[str]:
    """Names of nodes; those without one are numbered by operator."""
    counts: dict[str, int] = {}
    names = []
    for proto in nodes:
        index = counts.get(proto.op_type, 0)
        counts[proto.op_type] = index + 1
        names.append(proto.name or f"{proto.op_type}_{index}")
    return names
