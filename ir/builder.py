"""Changing a graph: the one builder that every rewrite uses.

A graph is frozen, so a rewrite that made a new one per step would take quadratic time. The builder
holds a graph's nodes in an order that can be changed anywhere, keeps who reads what, and gives a
graph again at the end; each step takes a time that does not depend on the size of the graph.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Container, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from spikec.ir.errors import InvalidGraph
from spikec.ir.graph import Graph, Node, op_of
from spikec.ir.types import F32, Array, DType, Param


def unique_name(wanted: str, taken: Container[str]) -> str:
    """`wanted`, with a number from 2 on where it is taken."""
    name, count = wanted, 1
    while name in taken:
        count += 1
        name = f"{wanted}_{count}"
    return name


def remove_dead(graph: Graph) -> Graph:
    """The graph without nodes that no output depends on (inputs stay)."""
    live = set(graph.outputs)
    for node in reversed(graph.nodes):
        if node.name in live:
            live.update(node.inputs)
    return graph.with_nodes(n for n in graph.nodes if n.name in live or not n.inputs)


@dataclass(slots=True)
class _Link:
    """A node's neighbours in the order; the two ends meet in a link without a name."""

    before: str
    after: str


_ENDS = ""
"""Name of the link in which the order begins and ends; no node can have it."""


class GraphBuilder:
    """A graph that is being changed.

    Nodes keep their places: a replaced one its own, an inserted one where it is put. The shape of
    what is inserted or replaced is inferred by its op; its element type is what the rewrite says.
    """

    def __init__(self, graph: Graph, nodes: Iterable[Node] | None = None) -> None:
        """Start from a graph.

        Args:
            graph: What is changed.
            nodes: The nodes to start with; all of the graph's by default.
        """
        self.graph = graph
        self.outputs = list(graph.outputs)
        self._nodes: dict[str, Node] = {}
        self._links = {_ENDS: _Link(_ENDS, _ENDS)}
        self._readers: dict[str, dict[str, None]] = {}
        self._params = dict(graph.params)
        self._users: Counter[str] = Counter()
        self._counts: dict[str, int] = {}
        for node in graph.nodes if nodes is None else nodes:
            self._place(node, _ENDS)

    # --- looking ----------------------------------------------------------------------------------

    def __contains__(self, name: object) -> bool:
        return name in self._nodes

    def __getitem__(self, name: str) -> Node:
        """The node called `name` as it is now; raises KeyError."""
        return self._nodes[name]

    def __iter__(self) -> Iterator[Node]:
        """The nodes as they are ordered now; what is erased meanwhile is left out."""
        names, name = list[str](), self._links[_ENDS].after
        while name != _ENDS:
            names.append(name)
            name = self._links[name].after
        return (self._nodes[name] for name in names if name in self._nodes)

    def readers(self, name: str) -> tuple[Node, ...]:
        """The nodes that read a value; those that came to read it last come last."""
        return tuple(self._nodes[reader] for reader in self._readers[name])

    def only_reader(self, name: str) -> Node | None:
        """The node that alone reads a value which is no output, or None."""
        readers = self._readers[name]
        if len(readers) != 1 or name in self.outputs:
            return None
        return self._nodes[next(iter(readers))]

    def param(self, name: str) -> Param:
        """The param called `name` as it is now; raises KeyError."""
        return self._params[name]

    def array(self, node: Node, role: str) -> Array:
        """The array of a node's param; raises InvalidGraph when absent or without values."""
        param = self._params.get(node.params.get(role, ""))
        if param is None or param.array is None:
            raise InvalidGraph(f"param '{role}' of %{node.name} has no values", loc=node.loc)
        return param.array

    def arrays(self, node: Node) -> dict[str, Array]:
        """All arrays of a node's params, by role."""
        return {role: self.array(node, role) for role in node.params}

    def unique(self, wanted: str) -> str:
        """A name for a node: `wanted`, with a number from 2 on where it is taken."""
        name, count = wanted, self._counts.get(wanted, 1)
        while name in self._nodes:
            count += 1
            name = f"{wanted}_{count}"
        self._counts[wanted] = count
        return name

    # --- changing ---------------------------------------------------------------------------------

    def declare(self, node: Node, values: Mapping[str, Array], dtype: DType = F32) -> Node:
        """The node with params of its own, `NODE.ROLE`, in place of those that it had.

        It is to be inserted or replaced next. A param that another node reads too is left as it is.
        """
        roles = {}
        own = Counter(self._nodes[node.name].params.values()) if node.name in self else Counter()
        for role, value in values.items():
            name, count = f"{node.name}.{role}", 1
            while self._users[name] > own[name]:
                count += 1
                name = f"{node.name}.{role}_{count}"
            self._params[name] = Param.of(value, dtype)
            roles[role] = name
        return replace(node, params=roles)

    def set_param(self, name: str, param: Param) -> None:
        """Give a param another value, for every node that reads it, or add it."""
        self._params[name] = param

    def add_param(self, wanted: str, param: Param) -> str:
        """Add a param under a unique name, which is returned."""
        name = unique_name(wanted, self._params)
        self._params[name] = param
        return name

    def append(self, node: Node) -> Node:
        """Add a node at the end, under a unique name."""
        return self._insert(node, _ENDS)

    def insert_before(self, place: str, node: Node) -> Node:
        """Add a node before another, under a unique name."""
        return self._insert(node, place)

    def insert_after(self, place: str, node: Node) -> Node:
        """Add a node after another, under a unique name."""
        return self._insert(node, self._links[place].after)

    def replace(self, node: Node) -> Node:
        """Put another node in the place of the one that has its name; its readers stay."""
        self._forget(self._nodes[node.name])
        node = self._typed(node)
        self._nodes[node.name] = node
        self._learn(node)
        return node

    def redirect(self, old: str, new: str, keep: Container[str] = ()) -> None:
        """Let everything that reads `old`, outputs too, read `new`, but for the nodes in `keep`."""
        for reader in self.readers(old):
            if reader.name not in keep:
                inputs = tuple(new if name == old else name for name in reader.inputs)
                self._forget(reader)
                self._nodes[reader.name] = replace(reader, inputs=inputs)
                self._learn(self._nodes[reader.name])
        self.outputs = [new if name == old else name for name in self.outputs]

    def erase(self, name: str) -> None:
        """Take a node away; raises InvalidGraph where it is still read."""
        if self._readers[name] or name in self.outputs:
            raise InvalidGraph(f"%{name} cannot be erased: it is read", loc=self._nodes[name].loc)
        link = self._links.pop(name)
        self._links[link.before].after = link.after
        self._links[link.after].before = link.before
        self._forget(self._nodes.pop(name))
        del self._readers[name]

    def erase_unread(self, name: str) -> None:
        """Take a node away if nothing reads it, and then what it alone read; inputs stay."""
        pending = [name]
        while pending:
            name = pending.pop()
            unread = name in self and not self._readers[name] and name not in self.outputs
            if unread and self._nodes[name].inputs:
                pending.extend(self._nodes[name].inputs)
                self.erase(name)

    def finish(self, **changes: Any) -> Graph:
        """The graph as it is now, without params that no node names.

        Args:
            changes: Other fields of the graph.
        """
        changed = replace(self.graph, params=self._params)
        return changed.with_nodes(self, outputs=tuple(self.outputs), **changes)

    # --- bookkeeping ------------------------------------------------------------------------------

    def _insert(self, node: Node, place: str) -> Node:
        node = self._typed(replace(node, name=self.unique(node.name)))
        self._place(node, place)
        return node

    def _typed(self, node: Node) -> Node:
        """The node with the shape that its op infers from its inputs, attributes and params."""
        if not node.inputs:
            return node
        params = {role: self._params[name].type for role, name in node.params.items()}
        inputs = [self._nodes[name].type for name in node.inputs]
        try:
            shape = op_of(node).infer(inputs, params)
        except InvalidGraph as error:
            message = f"%{node.name} = {node.op}: {error.message}"
            raise InvalidGraph(message, loc=error.loc or node.loc) from None
        return replace(node, type=replace(node.type, shape=shape))

    def _place(self, node: Node, place: str) -> None:
        """Put a node before `place`."""
        following = self._links[place]
        self._links[node.name] = _Link(following.before, place)
        self._links[following.before].after = node.name
        following.before = node.name
        self._nodes[node.name] = node
        self._readers.setdefault(node.name, {})
        self._learn(node)

    def _learn(self, node: Node) -> None:
        for name in node.inputs:
            self._readers.setdefault(name, {})[node.name] = None
        self._users.update(node.params.values())

    def _forget(self, node: Node) -> None:
        for name in node.inputs:
            self._readers[name].pop(node.name, None)
        self._users.subtract(node.params.values())
