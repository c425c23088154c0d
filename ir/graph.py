"""The graph: frozen nodes in topological order, each with exactly one result."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, TypeVar, overload

import numpy as np

from spikec.ir.errors import InvalidGraph
from spikec.ir.op import Op, Synapse
from spikec.ir.ops.input import Input
from spikec.ir.printing import array_text, attribute_text
from spikec.ir.types import Array, Param, TensorType

if TYPE_CHECKING:
    import networkx as nx

Kind = TypeVar("Kind", bound=Op)


@dataclass(frozen=True, slots=True)
class Node:
    """One operation on values; its name is the name of its result.

    Attributes:
        name: Unique in the graph.
        operation: What it computes, with its attributes: an instance of a class in `spikec.ir.ops`.
        inputs: Names of earlier nodes.
        type: Type of the result, per sample and step.
        params: Role in the op's schema to name in `Graph.params`.
        loc: The ONNX node that it came from.
    """

    name: str
    operation: Op
    inputs: tuple[str, ...]
    type: TensorType
    params: Mapping[str, str] = field(default_factory=dict)
    loc: str | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "params", MappingProxyType(dict(self.params)))

    def __reduce__(self) -> tuple[Any, ...]:
        parts = self.name, self.operation, self.inputs, self.type, dict(self.params), self.loc
        return Node, parts

    @property
    def op(self) -> str:
        """The operation's name in the text."""
        return self.operation.name

    def to_text(self, width: int = 0) -> str:
        """The node's line in the textual form, its name filled up to `width`."""
        inputs = ", ".join(f"%{name}" for name in self.inputs)
        settings = [f"{role}=@{name}" for role, name in self.params.items()]
        attributes = self.operation.attributes().items()
        settings += [f"{name}={attribute_text(value)}" for name, value in attributes]
        text = f"%{self.name:<{width}} : {self.type} = {self.op}({inputs})"
        text += f" <{', '.join(settings)}>" if settings else ""
        return text if self.loc is None else f"{text} from {json.dumps(self.loc)}"


@dataclass(frozen=True)
class Graph:
    """A network at one stage.

    Its indices are made when they are first asked for; as a graph never changes they stay right.
    They are no fields: neither equality nor a pickle sees them.

    Attributes:
        name: A readable name.
        stage: `ann` (float activations), `snn` (float spiking) or `int` (integer spiking).
        steps: Time steps T that a spiking graph was calibrated for; 0 at stage ann.
        nodes: In topological order.
        outputs: Names of the result nodes.
        params: Arrays by name.
        source: File name of the model that it came from.
    """

    name: str
    stage: str
    steps: int
    nodes: tuple[Node, ...]
    outputs: tuple[str, ...]
    params: Mapping[str, Param] = field(default_factory=dict)
    source: str | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "params", MappingProxyType(dict(self.params)))

    def __reduce__(self) -> tuple[Any, ...]:
        return Graph, (
            self.name,
            self.stage,
            self.steps,
            self.nodes,
            self.outputs,
            dict(self.params),
            self.source,
        )

    def __iter__(self) -> Iterator[Node]:
        return iter(self.nodes)

    def __getitem__(self, name: str) -> Node:
        """The node called `name`; raises KeyError."""
        return self.by_name[name]

    @cached_property
    def by_name(self) -> Mapping[str, Node]:
        """Nodes by name."""
        return MappingProxyType({node.name: node for node in self.nodes})

    @cached_property
    def position(self) -> Mapping[str, int]:
        """Index of each node in `nodes`, by name."""
        return MappingProxyType({node.name: index for index, node in enumerate(self.nodes)})

    @cached_property
    def inputs(self) -> tuple[Node, ...]:
        """The input nodes, in order."""
        return tuple(node for node in self.nodes if isinstance(node.operation, Input))

    @cached_property
    def readers(self) -> Mapping[str, tuple[Node, ...]]:
        """For each node's name, the nodes that read it, in order."""
        readers: dict[str, list[Node]] = {node.name: [] for node in self.nodes}
        for node in self.nodes:
            for name in dict.fromkeys(node.inputs):
                readers[name].append(node)
        return MappingProxyType({name: tuple(nodes) for name, nodes in readers.items()})

    def array(self, node: Node, role: str) -> Array:
        """The array of a node's param; raises InvalidGraph when absent or without values."""
        name = node.params.get(role)
        param = self.params.get(name) if name is not None else None
        if param is None or param.array is None:
            raise InvalidGraph(f"param '{role}' of %{node.name} has no values", loc=node.loc)
        return param.array

    def weights(self, node: Node) -> Array:
        """A synapse's weights with its exponents multiplied in; exact for integers."""
        return op_of(node, Synapse).whole_weights(self.arrays(node))

    def arrays(self, node: Node) -> dict[str, Array]:
        """All arrays of a node's params, by role."""
        return {role: self.array(node, role) for role in node.params}

    def networkx(self) -> nx.DiGraph:
        """The data flow as a networkx graph with `Node` objects as node data."""
        import networkx as nx  # here, as it takes long and few need it

        graph = nx.DiGraph()
        for node in self.nodes:
            graph.add_node(node.name, node=node)
            graph.add_edges_from((name, node.name) for name in node.inputs)
        return graph

    def with_nodes(
        self,
        nodes: Iterable[Node],
        params: Mapping[str, Param] | None = None,
        **changes: Any,
    ) -> Graph:
        """This graph with other nodes; params that no node names are dropped."""
        nodes = tuple(nodes)
        merged = {**self.params, **(params or {})}
        used = {name for node in nodes for name in node.params.values()}
        kept = {name: merged[name] for name in merged if name in used}
        return replace(self, nodes=nodes, params=kept, **changes)

    def with_params(self, params: Mapping[str, Param]) -> Graph:
        """This graph with some params replaced."""
        return replace(self, params={**self.params, **params})

    def to_text(self, *, values: bool = False) -> str:
        """The textual form; with `values`, arrays are written out too."""
        header = f"stage={self.stage}, steps={self.steps}"
        if self.source is not None:
            header += f", source={json.dumps(self.source)}"
        lines = [f"graph @{self.name} <{header}> {{"]
        for name, param in self.params.items():
            array = param.array if values else None
            written = "" if array is None else f" = {array_text(array.tolist())}"
            lines.append(f"  param @{name} : {param.type}{written}")
        width = max((len(node.name) for node in self.nodes), default=0)
        lines += [f"  {node.to_text(width)}" for node in self.nodes]
        returned = ", ".join(f"%{name}" for name in self.outputs)
        return "\n".join([*lines, f"  return {returned}", "}"]) + "\n"


@overload
def op_of(node: Node) -> Op: ...
@overload
def op_of(node: Node, kind: type[Kind]) -> Kind: ...
def op_of(node: Node, kind: type[Op] = Op) -> Op:
    """What a node computes, as an op of some kind.

    Raises:
        InvalidGraph: when it is of another kind.
    """
    if not isinstance(node.operation, kind):
        raise InvalidGraph(f"%{node.name} = {node.op} is no {kind.__name__}", loc=node.loc)
    return node.operation


def same_values(left: Graph, right: Graph) -> bool:
    """Whether two graphs are equal and hold the same arrays, value for value."""
    if left != right:
        return False
    pairs = ((param.array, right.params[name].array) for name, param in left.params.items())
    return all(
        (a is None and b is None)
        or (a is not None and b is not None and np.array_equal(a, b, equal_nan=a.dtype.kind == "f"))
        for a, b in pairs
    )
