"""Writes nodes and constants of an ONNX graph under unique names."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from spikec.ir.types import Array

FLOAT, DOUBLE, BOOL = TensorProto.FLOAT, TensorProto.DOUBLE, TensorProto.BOOL
INT8, UINT8 = TensorProto.INT8, TensorProto.UINT8
INT32, INT64 = TensorProto.INT32, TensorProto.INT64


class Writer:
    """Collects the nodes of a graph, or of the body of one of its nodes.

    Attributes:
        nodes: In topological order.
        shapes: Types and shapes of values, for whoever looks at the graph.
        constants: Initializers by name; a body's are those of the graph around it.
    """

    def __init__(self, around: Writer | None = None) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.shapes: list[onnx.ValueInfoProto] = []
        self.constants: dict[str, onnx.TensorProto] = {} if around is None else around.constants
        self._taken: set[str] = set() if around is None else around._taken

    def unique(self, name: str) -> str:
        """`name`, with a suffix where it is taken already."""
        free, count = name, 1
        while free in self._taken:
            count += 1
            free = f"{name}.{count}"
        self._taken.add(free)
        return free

    def constant(self, name: str, array: Array, doc: str = "") -> str:
        """Add an initializer; one that is there with the same content is shared."""
        tensor = numpy_helper.from_array(np.asarray(array, order="C"), name)
        tensor.doc_string = doc
        if self.constants.get(name) == tensor:
            return name
        tensor.name = self.unique(name)
        self.constants[tensor.name] = tensor
        return tensor.name

    def shape(self, *sizes: int) -> str:
        """A shape, or axes, as a constant."""
        return self.constant(f"shape{list(sizes)}", np.array(sizes, np.int64))

    def scalar(self, value: int, type_: int) -> str:
        """A number as a constant."""
        dtype = helper.tensor_dtype_to_np_dtype(type_)
        return self.constant(f"{value}:{dtype}", np.array(value, dtype))

    def add(
        self,
        op: str,
        inputs: Sequence[str],
        name: str,
        *,
        outputs: Sequence[str] = (),
        doc: str = "",
        props: Mapping[str, str] | None = None,
        **attributes: Any,
    ) -> str:
        """Add a node; returns the name of its (first) result, `name` unless that is taken.

        Args:
            op: Operator of ai.onnx.
            inputs: Names of values.
            name: Of the node, and of its result unless there are `outputs`.
            outputs: Names of several results, unique already.
            doc: What the node does.
            props: Metadata of the node.
            **attributes: The operator's.
        """
        name = self.unique(name)
        node = helper.make_node(op, inputs, outputs or [name], name, doc or None, **attributes)
        for key, value in (props or {}).items():
            node.metadata_props.add(key=key, value=value)
        self.nodes.append(node)
        return node.output[0]

    def note(self, name: str, type_: int, shape: Sequence[Any]) -> None:
        """Keep the type and shape of a value."""
        self.shapes.append(helper.make_tensor_value_info(name, type_, shape))

    def graph(
        self,
        name: str,
        inputs: Sequence[onnx.ValueInfoProto],
        outputs: Sequence[onnx.ValueInfoProto],
        constants: Sequence[onnx.TensorProto] = (),
    ) -> onnx.GraphProto:
        """What was written, as a graph."""
        ends = {info.name for info in (*inputs, *outputs)}
        shapes = [info for info in self.shapes if info.name not in ends]
        return helper.make_graph(
            self.nodes, name, inputs, outputs, list(constants), value_info=shapes
        )
