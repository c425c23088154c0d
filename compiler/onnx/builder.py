"""The graph's side of an import: nodes of stage ann, one after the other."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from spikec.compiler.onnx.values import MOST_ELEMENTS, Constant, Tensor
from spikec.ir import (
    F32,
    Graph,
    InvalidGraph,
    InvalidModel,
    Node,
    Param,
    TensorType,
    remove_dead,
    unique_name,
    verify,
)
from spikec.ir.op import AttrValue
from spikec.ir.ops import OPS


@dataclass(slots=True)
class GraphBuilder:
    """A graph of stage ann being built.

    Shapes are per sample: the batch axis of an ONNX value is dropped.

    Attributes:
        nodes: By name, in order.
        order: Position of each node.
        params: Their arrays.
        bounds: For a clamped tensor, the tensor before and the bounds.
        quantised: Quantisers by what they read and do.
    """

    nodes: dict[str, Node] = field(default_factory=dict)
    order: dict[str, int] = field(default_factory=dict)
    params: dict[str, Param] = field(default_factory=dict)
    bounds: dict[str, tuple[Tensor, float, float]] = field(default_factory=dict)
    quantised: dict[tuple[str, int, int, str, bytes], Tensor] = field(default_factory=dict)

    def emit(
        self,
        loc: str,
        op: str,
        inputs: Sequence[Tensor],
        attrs: Mapping[str, AttrValue],
        params: Mapping[str, Constant],
    ) -> Tensor:
        """Append a node with its params.

        Args:
            loc: Name of the ONNX node that it comes from.
            op: Name of the op.
            inputs: What it reads.
            attrs: By the op's schema.
            params: Arrays by role; stored as float32.

        Raises:
            InvalidGraph: when inputs, attributes and params do not fit, or params are not finite.
        """
        name = self.unique_name(loc)
        roles = {role: f"{name}.{role}" for role in params}
        arrays = {role: Param.of(array, F32) for role, array in params.items()}
        for role, param in arrays.items():
            if param.array is None or not np.isfinite(param.array).all():
                raise InvalidGraph(f"its {role} holds NaN or infinite values")
        sources = tuple(tensor.name for tensor in inputs)
        made = OPS[op].of(attrs)
        types = {role: param.type for role, param in arrays.items()}
        shape = made.infer([self.nodes[i].type for i in sources], types)
        self.params |= {roles[role]: param for role, param in arrays.items()}
        return self.append(Node(name, made, sources, TensorType(F32, ()), roles, loc), shape)

    def append(self, node: Node, shape: tuple[int, ...]) -> Tensor:
        """Append a node whose result has `shape`."""
        self.check_size(node.loc, math.prod(shape))
        self.order[node.name] = len(self.nodes)
        self.nodes[node.name] = replace(node, type=TensorType(F32, shape))
        return Tensor(node.name, shape)

    def check_size(self, loc: str | None, size: int) -> None:
        """Raise InvalidModel for an empty value, and for one of impossible size."""
        if not 0 < size <= MOST_ELEMENTS:
            raise InvalidModel(f"a value of {size} elements per sample", loc=loc)

    def unique_name(self, wanted: str) -> str:
        """A name for the graph's text, unique, as close to `wanted` as its letters allow."""
        base = re.sub(r"[^A-Za-z0-9_.]+", "_", wanted).strip("_.") or "value"
        base = base if re.match(r"[A-Za-z_]", base) else f"_{base}"
        return unique_name(base, self.nodes)

    def finish(self, name: str, outputs: Iterable[str], source: str | None) -> Graph:
        """The verified graph, without nodes that no output depends on."""
        graph = Graph(
            name=self.unique_name(name),
            stage="ann",
            steps=0,
            nodes=tuple(self.nodes.values()),
            outputs=tuple(outputs),
            params=self.params,
            source=source,
        )
        return verify(remove_dead(graph))
