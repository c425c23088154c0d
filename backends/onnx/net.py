"""What the lowerings of all ops share: the values so far and how to get at them."""

from __future__ import annotations

import inspect
import json
from dataclasses import dataclass
from typing import Any

import numpy as np
from onnx import helper

from spikec.backends.onnx.bounds import Bounds
from spikec.backends.onnx.writer import INT8, INT32, INT64, UINT8, Writer
from spikec.ir import BackendError, Graph, Node, op_of, spread
from spikec.ir.types import Array, DType

BATCH = "N"
_LISTED = 4096
"""Scales of a layer that its metadata lists one by one."""


@dataclass(frozen=True, slots=True)
class Value:
    """A value of the ONNX graph.

    Attributes:
        name: Its name there.
        type: Element type, of onnx.TensorProto.
        shape: Per sample and step.
        timed: Whether it is (T * N, *shape), all steps one after the other; else it is the same
            in each step and (N, *shape).
    """

    name: str
    type: int
    shape: tuple[int, ...]
    timed: bool


class Net:
    """An ONNX graph that grows op by op.

    Attributes:
        graph: What is lowered, of stage int.
        steps: Time steps T.
        bounds: Of all values.
        out: Where nodes go.
        values: By name of the graph's node.
        potentials: Of traced layers, in every step.
        traced: Layers whose potentials are wanted in every step.
        overflows: Values (N,): how many numbers left their declared width, layer by layer.
        samples: The name of the batch size as a shape.
    """

    def __init__(self, graph: Graph, bounds: Bounds, out: Writer, traced: frozenset[str]) -> None:
        self.graph, self.steps, self.bounds, self.out = graph, bounds.steps, bounds, out
        self.values: dict[str, Value] = {}
        self.potentials: dict[str, Value] = {}
        self.traced = traced
        self.overflows: list[str] = []
        self.samples = ""
        self._batches: dict[tuple[int, ...], str] = {}
        self._casts: dict[tuple[str, int], Value] = {}

    def inputs(self, node: Node) -> list[Value]:
        """The inputs of a node, all of them in every step if one is."""
        values = [self.values[name] for name in node.inputs]
        if any(value.timed for value in values):
            return [self.timed(value) for value in values]
        return values

    def array(self, node: Node, role: str) -> Array:
        """A param as int64, shaped so that it broadcasts to the node's result."""
        return spread(self.graph.array(node, role).astype(np.int64), node.type.shape)

    def param(self, node: Node, role: str, type_: int) -> str:
        """A neuron's or synapse's integers as a constant."""
        dtype = np.int32 if type_ == INT32 else np.int64
        doc = f"{role} of {node.name}, {self.graph.params[node.params[role]].type}"
        if "scale" in node.params:
            doc += "; one unit stands for the real number 'scale' in the layer's metadata"
        return self.out.constant(f"{node.name}.{role}", self.array(node, role).astype(dtype), doc)

    def whole_weights(self, node: Node) -> Array:
        """Weights with their exponents, int64; raises BackendError where they are wider."""
        w = self.graph.weights(node)
        if w.dtype == object:
            raise BackendError(f"%{node.name} has weights beyond 64 bits", loc=node.loc)
        return w.astype(np.int64)

    def weights(self, node: Node, type_: int) -> str:
        """A one-to-one synapse's factors with their exponents, shaped to broadcast."""
        w = spread(self.whole_weights(node), node.type.shape)
        dtype = np.int32 if type_ == INT32 else np.int64
        doc = f"w of {node.name}, {self.graph.params[node.params['w']].type}"
        return self.out.constant(f"{node.name}.w", w.astype(dtype), doc)

    def put(
        self,
        node: Node,
        op: str,
        inputs: list[str],
        like: Value,
        type_: int,
        part: str = "",
        **attributes: Any,
    ) -> Value:
        """Add an operator that computes `node`, or a part of it."""
        extra = {} if part else self.described(node)
        name = self.out.add(op, inputs, node.name + part, **extra, **attributes)
        return self.noted(Value(name, type_, node.type.shape, like.timed))

    def noted(self, value: Value) -> Value:
        """Keep the type and shape of a value."""
        batch = f"{self.steps}*{BATCH}" if value.timed else BATCH
        self.out.note(value.name, value.type, (batch, *value.shape))
        return value

    def cast(self, value: Value, type_: int, name: str = "") -> Value:
        """The same numbers in another element type."""
        if value.type == type_:
            return value
        key = (value.name, type_)
        if key not in self._casts or name:
            suffix = helper.tensor_dtype_to_np_dtype(type_).name
            made = self.out.add("Cast", [value.name], name or f"{value.name}/{suffix}", to=type_)
            self._casts[key] = self.noted(Value(made, type_, value.shape, value.timed))
        return self._casts[key]

    def rounded(self, value: Value, type_: int, name: str) -> Value:
        """Integers that a float value holds; whoever needs them in float reads that value."""
        made = self.cast(value, type_, name)
        self._casts[made.name, value.type] = value
        return made

    def timed(self, value: Value) -> Value:
        """The value in every step, one after the other."""
        if value.timed:
            return value
        one = self.out.shape(0)
        wide = self.out.add("Unsqueeze", [value.name, one], f"{value.name}/step")
        target = self.out.shape(self.steps, *(1,) * (len(value.shape) + 1))
        wide = self.out.add("Expand", [wide, target], f"{value.name}/steps")
        return self.flat(wide, value.type, value.shape, f"{value.name}/timed")

    def stacked(self, value: Value) -> str:
        """The value as (T, N, *shape)."""
        target = self.out.shape(self.steps, -1, *value.shape)
        return self.out.add("Reshape", [self.timed(value).name, target], f"{value.name}/by_step")

    def flat(self, name: str, type_: int, shape: tuple[int, ...], wanted: str) -> Value:
        """(T, N, *shape) as a value (T * N, *shape)."""
        made = self.out.add("Reshape", [name, self.out.shape(-1, *shape)], wanted)
        return self.noted(Value(made, type_, shape, True))

    def last(self, value: Value) -> Value:
        """The value of the last step."""
        if not value.timed:
            return value
        index = self.out.scalar(self.steps - 1, INT64)
        name = self.out.add("Gather", [self.stacked(value), index], f"{value.name}/last", axis=0)
        return self.noted(Value(name, value.type, value.shape, False))

    def watch(self, node: Node, value: Value) -> None:
        """Count the elements of a linear value that leave its declared type."""
        low, high = node.type.dtype.bounds
        name, axes = value.name, list(range(1, len(value.shape) + 1))
        if value.timed:
            name, axes = self.stacked(value), [0, *(axis + 1 for axis in axes)]
        self.overflows.append(count_outside(self.out, name, value.type, low, high, axes))

    def batch_shape(self, shape: tuple[int, ...]) -> str:
        """The shape (N, *shape), which is known when the model runs."""
        if shape not in self._batches:
            parts = [self.samples, self.out.shape(*shape)]
            name = f"shape[{BATCH}, {str(list(shape))[1:]}"
            self._batches[shape] = self.out.add("Concat", parts, name, axis=0)
        return self._batches[shape]

    def described(self, node: Node) -> dict[str, Any]:
        """What there is to say of a node besides its ONNX operators."""
        metadata = {"spikec.op": node.op, "spikec.type": str(node.type)}
        if node.loc:
            metadata["spikec.onnx_node"] = node.loc
        if "w" in node.params:
            metadata["spikec.weights"] = str(self.graph.params[node.params["w"]].type.dtype)
        if "scale" in node.params:
            metadata["spikec.scale"] = listed(self.graph.array(node, "scale"))
        return {"doc": inspect.getdoc(type(op_of(node))) or "", "props": metadata}


def count_outside(out: Writer, name: str, type_: int, low: int, high: int, axes: list[int]) -> str:
    """How many numbers of a value lie outside `low` to `high`, summed over `axes`."""
    held = np.iinfo(helper.tensor_dtype_to_np_dtype(type_))
    low, high = max(low, int(held.min)), min(high, int(held.max))
    above = out.add("Greater", [name, out.scalar(high, type_)], f"{name}/above")
    below = out.add("Less", [name, out.scalar(low, type_)], f"{name}/below")
    outside = out.add("Or", [above, below], f"{name}/outside")
    return count(out, outside, f"{name}/overflows", axes)


def count(out: Writer, flags: str, name: str, axes: list[int]) -> str:
    """How many flags are set, summed over `axes`."""
    numbers = out.add("Cast", [flags], f"{flags}/int", to=INT64)
    if not axes:
        return numbers
    return out.add("ReduceSum", [numbers, out.shape(*axes)], name, keepdims=0)


def listed(array: Array) -> str:
    """Real numbers as JSON; only their range where they are many."""
    if array.size > _LISTED:
        return f"{array.min()!r} to {array.max()!r}"
    return json.dumps(array.tolist())


def spike_type(largest: int) -> int:
    """An element type for spikes."""
    return INT8 if largest < 128 else INT32


def code_type(dtype: DType) -> int:
    """An element type for input codes."""
    low, high = dtype.bounds
    return UINT8 if low == 0 and high < 256 else integer(max(-low - 1, high))


def expect_exact_sum(largest: int, node: Node) -> None:
    """Refuse a ReduceSum of integers beyond 2^53, which onnxruntime sums in double precision.

    Raises:
        BackendError: naming the node.
    """
    if largest > 1 << 53:
        raise BackendError(
            f"%{node.name} = {node.op} can sum up to {largest}, beyond 53 bits", loc=node.loc
        )


def integer(largest: int, node: Node | None = None) -> int:
    """The element type of integers up to `largest`."""
    if largest < 1 << 31:
        return INT32
    if largest < 1 << 63:
        return INT64
    where = f"%{node.name} = {node.op}" if node else "a value"
    loc = node.loc if node else None
    raise BackendError(f"{where} can reach {largest}, beyond 64 bits", loc=loc)
