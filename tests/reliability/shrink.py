"""Makes a case smaller while it still differs in the same way."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace

import numpy as np
from graphs import Case

from spikec.ir import OPS, Graph, InvalidGraph, Node, Param, TensorType, op_of, signed, verify
from spikec.ir.ops.input import Input
from spikec.runtime.interpreter import simulate

Differs = Callable[[Case], bool]
ROUNDS = 8
"""How often all cuts are tried again."""


def shrink(case: Case, differs: Differs) -> Case:
    """The smallest case found that still differs; each cut is kept only if it does."""
    for _ in range(ROUNDS):
        before = case
        for cuts in (_samples, _steps, _outputs, _nodes, _inputs, _params, _codes):
            case = _cut(case, cuts, differs)
        if case is before:
            break
    return case


def _cut(case: Case, cuts: Callable[[Case], Iterator[Case]], differs: Differs) -> Case:
    """Take cuts of one kind until none helps."""
    found = True
    while found:
        found = False
        for smaller in cuts(case):
            try:
                smaller = _alive(replace(smaller, graph=verify(smaller.graph)))
                if differs(smaller):
                    case, found = smaller, True
                    break
            except (InvalidGraph, KeyError):
                continue
    return case


def _alive(case: Case) -> Case:
    """Only the feeds that the graph still takes."""
    names = {node.name for node in case.graph.inputs}
    return replace(case, feeds={name: x for name, x in case.feeds.items() if name in names})


def _samples(case: Case) -> Iterator[Case]:
    many = len(next(iter(case.feeds.values())))
    if many > 1:
        half = many // 2
        for part in (slice(half), slice(half, None)):
            yield replace(case, feeds={name: x[part] for name, x in case.feeds.items()})


def _steps(case: Case) -> Iterator[Case]:
    steps = case.graph.steps
    for fewer in sorted({1, steps // 2, steps - 1} - {0, steps}):
        yield replace(case, graph=replace(case.graph, steps=fewer))


def _outputs(case: Case) -> Iterator[Case]:
    if len(case.graph.outputs) > 1:
        for name in case.graph.outputs:
            yield replace(case, graph=replace(case.graph, outputs=(name,)))


def _nodes(case: Case) -> Iterator[Case]:
    """Leave out a node that nothing reads, or let another value of its type stand for it."""
    graph = case.graph
    for node in reversed(graph.nodes):
        if not graph.readers[node.name] and node.name not in graph.outputs:
            yield replace(case, graph=_without(graph, node))
        for other in graph.nodes:
            if other.name == node.name:
                break
            if other.type == node.type and not isinstance(node.operation, Input):
                yield replace(case, graph=_without(graph, node, other.name))
        yield from _as_input(case, node)


def _without(graph: Graph, node: Node, other: str | None = None) -> Graph:
    def name(old: str) -> str:
        return other if other is not None and old == node.name else old

    nodes = [replace(n, inputs=tuple(map(name, n.inputs))) for n in graph.nodes if n != node]
    return graph.with_nodes(nodes, outputs=tuple(map(name, graph.outputs)))


def _as_input(case: Case, node: Node) -> Iterator[Case]:
    """Feed what a node gives in the first step."""
    graph, is_spike = case.graph, node.type.dtype.is_spike
    if isinstance(node.operation, Input) or is_spike or op_of(node).stateful:
        return
    upto = graph.nodes[: graph.nodes.index(node) + 1]
    type_ = TensorType(signed(64), node.type.shape)
    probe = Node("probe", OPS["accumulate"](), (node.name,), type_)
    part = replace(graph, nodes=(*upto, probe), outputs=("probe",), steps=1)
    try:
        value = simulate(part, case.feeds).readout["probe"][0]
    except Exception:
        return
    made = Node(node.name, OPS["input"](), (), node.type)
    nodes = [made if n == node else n for n in graph.nodes]
    yield Case(graph.with_nodes(nodes), {**case.feeds, node.name: value})


def _inputs(case: Case) -> Iterator[Case]:
    """Fewer channels are hard to cut; fewer terms of a sum are not."""
    for node in case.graph.nodes:
        for k in range(len(node.inputs)):
            if len(node.inputs) > 1:
                fewer = replace(node, inputs=node.inputs[:k] + node.inputs[k + 1 :])
                nodes = [fewer if n == node else n for n in case.graph.nodes]
                yield replace(case, graph=case.graph.with_nodes(nodes))
        for role in node.params:
            if not op_of(node).params[role].required:
                kept = {r: name for r, name in node.params.items() if r != role}
                nodes = [replace(n, params=kept) if n == node else n for n in case.graph.nodes]
                yield replace(case, graph=case.graph.with_nodes(nodes))


def _params(case: Case) -> Iterator[Case]:
    """Params of one number."""
    for name, param in case.graph.params.items():
        array = param.array
        if array is None or array.dtype.kind == "f" or (array == array.flat[0]).all():
            continue
        for value in (array.flat[0], 1, 0):
            simple = Param.of(np.full(array.shape, value), param.type.dtype)
            yield replace(case, graph=case.graph.with_params({name: simple}))


def _codes(case: Case) -> Iterator[Case]:
    """Inputs of one number, or some of them 0."""
    for name, x in case.feeds.items():
        if x.size and (x != x.flat[0]).any():
            for value in (0, 1, int(x.max()), int(x.min())):
                yield replace(case, feeds={**case.feeds, name: np.full_like(x, value)})
            places = np.argwhere(x)
            for part in np.array_split(places, min(len(places), 4)) if len(places) > 1 else []:
                fewer = x.copy()
                fewer[tuple(part.T)] = 0
                yield replace(case, feeds={**case.feeds, name: fewer})
