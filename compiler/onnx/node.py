"""One ONNX node as its lowering sees it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import NoReturn, overload

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import GraphProto, NodeProto

from spikec.compiler.onnx.builder import GraphBuilder
from spikec.compiler.onnx.scope import Scope
from spikec.compiler.onnx.values import Constant, Tensor, Value
from spikec.ir import InvalidGraph, InvalidModel, UnsupportedOperator
from spikec.ir.op import AttrValue


class OnnxNode:
    """One ONNX node: inputs resolved, attributes read, errors located.

    Attributes:
        scope: The values that it may read.
        builder: The graph that its lowering adds to.
        proto: The node itself.
        name: Its name, or a number where it has none.
        batch: Where the batch axis stands in what it yields, for operators that keep layouts.
    """

    def __init__(self, scope: Scope, builder: GraphBuilder, proto: NodeProto, name: str) -> None:
        self.scope = scope
        self.builder = builder
        self.proto = proto
        self.name = name
        self.opset = scope.opset
        self.batch: int | None = 0
        self._attrs = {a.name: a for a in proto.attribute}

    @property
    def key(self) -> tuple[str, str]:
        """Domain and operator."""
        domain = "" if self.proto.domain == "ai.onnx" else self.proto.domain
        return domain, self.proto.op_type

    def refuse(self, reason: str, hint: str | None = None) -> NoReturn:
        """Refuse the node with a reason and what would help."""
        raise UnsupportedOperator(reason, loc=self.name, hint=hint)

    def invalid(self, reason: str) -> NoReturn:
        """Raise InvalidModel for a node that contradicts itself or its inputs."""
        raise InvalidModel(f"{self.proto.op_type}: {reason}", loc=self.name)

    def has(self, index: int) -> bool:
        """Whether the optional input is given."""
        return index < len(self.proto.input) and self.proto.input[index] != ""

    def uses_output(self, index: int) -> bool:
        """Whether anything reads the output."""
        if index >= len(self.proto.output):
            return False
        return self.proto.output[index] in self.scope.wanted

    def value(self, index: int) -> Value:
        """An input, whatever it is."""
        if not self.has(index):
            raise InvalidModel(f"{self.proto.op_type} lacks input {index}", loc=self.name)
        return self.scope.values[self.proto.input[index]]

    def is_constant(self, index: int) -> bool:
        """Whether an input is known at compile time."""
        return isinstance(self.value(index), np.ndarray)

    def any_tensor(self, index: int = 0) -> Tensor:
        """An input that depends on the data, whatever it is; refuses a constant."""
        value = self.value(index)
        if isinstance(value, np.ndarray):
            self.refuse(f"input {index} is a constant where data is expected")
        return value

    def tensor(self, index: int = 0) -> Tensor:
        """An input that depends on the data; refuses a value behind a cut-off tail."""
        value = self.any_tensor(index)
        if value.tail is not None:
            self.refuse(
                f"it reads the result of {value.tail.operator}, which is only supported at the end",
                "remove it from the model, or export the network up to the logits",
            )
        return value

    def tensors(self) -> list[Tensor]:
        """All inputs that depend on the data."""
        given = (i for i in range(len(self.proto.input)) if self.has(i))
        return [self.tensor(i) for i in given if not self.is_constant(i)]

    def constant(self, index: int) -> Constant:
        """An input that must be known at compile time, as it stands in the model."""
        value = self.value(index)
        if not isinstance(value, np.ndarray):
            self.refuse(f"input {index} must be a constant, not computed from the data")
        return value

    def weights(self, index: int) -> NDArray[np.float32]:
        """A constant input as float32; raises InvalidModel for NaN or infinite values."""
        array = np.asarray(self.constant(index), dtype=np.float32)
        if not np.isfinite(array).all():
            raise InvalidModel(
                f"'{self.proto.input[index]}' holds NaN or infinite values", loc=self.name
            )
        return array

    def integers(self, index: int) -> tuple[int, ...]:
        """A constant input as a list of integers."""
        array = self.constant(index)
        if array.dtype.kind not in "iu" or array.ndim > 1:
            self.invalid(f"input {index} must be a list of integers")
        return tuple(int(value) for value in array.reshape(-1))

    def scalar(self, index: int) -> float:
        """A constant input of one element."""
        array = self.constant(index)
        if array.size != 1 or array.dtype.kind not in "iufb":
            self.invalid(f"input {index} must be a single number")
        return float(array.reshape(-1)[0])

    @overload
    def attr(self, name: str, default: int) -> int: ...
    @overload
    def attr(self, name: str, default: float) -> float: ...
    @overload
    def attr(self, name: str, default: str) -> str: ...
    @overload
    def attr(self, name: str, default: tuple[int, ...]) -> tuple[int, ...]: ...
    def attr(self, name: str, default: AttrValue) -> AttrValue:
        """An attribute's value, or a default of the type that it must have."""
        if name not in self._attrs:
            return default
        value = onnx.helper.get_attribute_value(self._attrs[name])
        if isinstance(value, bytes):
            value = value.decode(errors="replace")
        if isinstance(default, tuple) and isinstance(value, Sequence):
            value = tuple(value)
        kinds = (int, float) if isinstance(default, float) else type(default)
        if not isinstance(value, kinds):
            self.invalid(f"attribute '{name}' has the wrong type")
        return value

    def floats(self, name: str) -> tuple[float, ...]:
        """An attribute that is a list of numbers; empty where it is missing."""
        return (
            tuple(float(value) for value in self._attrs[name].floats) if name in self._attrs else ()
        )

    def subgraph(self, name: str) -> GraphProto:
        """An attribute that is a graph; raises InvalidModel where it is missing."""
        if name not in self._attrs:
            self.invalid(f"attribute '{name}' is missing")
        return self._attrs[name].g

    def emit(
        self,
        op: str,
        inputs: Sequence[Tensor],
        attrs: Mapping[str, AttrValue] | None = None,
        params: Mapping[str, Constant] | None = None,
    ) -> Tensor:
        """Add a node to the graph being built; raises InvalidModel where its parts do not fit."""
        try:
            made = self.builder.emit(self.name, op, inputs, attrs or {}, params or {})
        except InvalidGraph as error:
            self.invalid(error.message)
        numbers = inputs and all(tensor.shape == () for tensor in inputs)
        return replace(made, shape=()) if numbers and op != "reshape" else made
