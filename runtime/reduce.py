"""Shrinks a case in which two engines differ to a small graph and input that still differ."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from spikec.ir import F64, Graph, InvalidGraph, Node, Param, op_of, signed, spread, verify
from spikec.ir.neuron import Membrane, Neuron
from spikec.ir.op import steps_of
from spikec.ir.ops.accumulate import Accumulate
from spikec.ir.ops.input import Input
from spikec.ir.ops.synapses.affine import Affine
from spikec.ir.ops.synapses.conv import Conv
from spikec.ir.ops.synapses.dense import Dense
from spikec.ir.types import Array, DType
from spikec.runtime.check import Comparison, traced_layers
from spikec.runtime.explain import Cone
from spikec.runtime.golden import Run
from spikec.runtime.interpreter import Feeds, over_time, state_type

Difference = dict[str, Any]
Inputs = dict[str, Array]
Engines = dict[str, Run]
_TRIALS = 64
"""Runs spent on leaving out inputs."""


@dataclass(slots=True)
class Case:
    """A network and coded inputs on which two engines differ, and what was cut on the way."""

    graph: Graph
    feeds: Inputs
    difference: Difference
    cuts: list[str] = field(default_factory=list)


def differ(graph: Graph, feeds: Feeds, engines: Engines) -> Difference | None:
    """The first difference of two engines on some inputs, or None."""
    layers = traced_layers(graph)
    runs = {name: simulate(graph, feeds, None, layers) for name, simulate in engines.items()}
    comparison = Comparison()
    comparison.add(graph, runs, 0)
    return comparison.first_difference


def shrink(graph: Graph, feeds: Feeds, engines: Engines) -> Case | None:
    """The smallest case found, or None where the engines agree.

    Each cut is kept only if the engines still differ after it.
    """
    samples = len(next(iter(feeds.values())))
    difference = differ(graph, feeds, engines)
    if difference is None:
        return None
    case = Case(graph, {name: np.asarray(x) for name, x in feeds.items()}, difference)
    one = {
        name: x[difference["sample"] : difference["sample"] + 1] for name, x in case.feeds.items()
    }
    _try(case, engines, case.graph, one, f"{samples} samples to 1")
    step = case.difference["step"]
    if step < graph.steps:
        cut = replace(case.graph, steps=step)
        _try(case, engines, cut, case.feeds, f"{graph.steps} steps to {step}")
    for what, build in (("after", _without_later), ("before", _without_earlier)):
        for cut, inputs in build(case, engines):
            layers = len(traced_layers(case.graph)), len(traced_layers(cut))
            _try(
                case,
                engines,
                cut,
                inputs,
                f"layers {what} the difference: {layers[0]} to {layers[1]}",
            )
    for cut, inputs in _one_channel(case):
        _try(case, engines, cut, inputs, "one output channel")
    _fewer_inputs(case, engines)
    return case


def _try(case: Case, engines: Engines, graph: Graph, feeds: Inputs, what: str) -> bool:
    """Take a smaller case if it still differs."""
    try:
        difference = differ(verify(graph), feeds, engines)
    except InvalidGraph:
        return False
    if difference is None:
        return False
    case.graph, case.feeds, case.difference = graph, feeds, difference
    if what:
        case.cuts.append(what)
    return True


def _without_later(case: Case, engines: Engines) -> Iterator[tuple[Graph, Inputs]]:
    """The differing layer and what is before it, with a readout."""
    graph, name = case.graph, case.difference["layer"]
    before = _ancestors(graph, name)
    nodes = [node for node in graph.nodes if node.name in before]
    if len(nodes) == len(graph.nodes):
        return
    inputs = {node.name for node in nodes if isinstance(node.operation, Input)}
    feeds = {key: x for key, x in case.feeds.items() if key in inputs}
    yield _with_readout(graph, nodes, name), feeds


def _ancestors(graph: Graph, name: str) -> set[str]:
    import networkx as nx

    return {name, *nx.ancestors(graph.networkx(), name)}


def _with_readout(graph: Graph, nodes: list[Node], name: str) -> Graph:
    node = next(n for n in nodes if n.name == name)
    if isinstance(node.operation, Accumulate):
        return graph.with_nodes(nodes, outputs=(name,))
    state = node.type.with_dtype(signed(24))
    tail = [
        Node("readout.synapse", Affine(), (name,), state, params={"w": "readout.w"}),
        Node("readout", Accumulate(), ("readout.synapse",), state),
    ]
    one = Param.of(np.array(1), signed(8))
    return graph.with_nodes([*nodes, *tail], {"readout.w": one}, outputs=("readout",))


def _without_earlier(case: Case, engines: Engines) -> Iterator[tuple[Graph, Inputs]]:
    """The differing layer alone, fed with what reached it in the differing step, for one step."""
    graph, difference = case.graph, case.difference
    layer = graph[difference["layer"]]
    op = layer.operation
    if not isinstance(op, Membrane) or op.gathers:
        return
    neuron = tuple(difference["neuron"])
    cone = Cone(graph, layer, neuron)
    sample, t = difference["sample"], difference["step"] - 1
    simulate = next(iter(engines.values()))
    traces = simulate(graph, case.feeds, None, traced_layers(graph)).traces
    feeds: Inputs = {}
    inputs, params = [], {"unit": Param.of(1.0, F64), "zero": Param.of(0.0, F64)}
    for name in cone.sources:
        node = graph[name]
        if isinstance(node.operation, Input):
            given = steps_of(over_time(node, case.feeds, graph.steps), graph.steps)
            value, dtype = given[t, sample], node.type.dtype
        else:
            spikes = traces[name].spikes
            if spikes is None:
                return
            value = spikes[t, sample]
            dtype = DType.parse("u8") if value.min() >= 0 else signed(8)
        feeds[name] = value[None].astype(dtype.storage)
        inputs.append(
            Node(
                name,
                Input(),
                (),
                node.type.with_dtype(dtype),
                params={"scale": "unit", "offset": "zero"},
                loc=node.loc,
            )
        )
    types = {node.name: node.type for node in inputs}
    linear = []
    for node in cone.nodes:
        type_ = node.type
        if op_of(node).result == "same":
            type_ = type_.with_dtype(types[node.inputs[0]].dtype)
        types[node.name] = type_
        linear.append(replace(node, type=type_))
    if isinstance(op, Neuron) and t > 0:
        start = traces[layer.name].potentials[t - 1, sample]
        params[f"{layer.name}.v0.then"] = Param.of(start, state_type(graph, layer))
        layer = replace(layer, params={**layer.params, "v0": f"{layer.name}.v0.then"})
    merged = replace(graph, params={**graph.params, **params}, steps=1)
    yield _with_readout(merged, [*inputs, *linear, layer], layer.name), feeds


def _one_channel(case: Case) -> Iterator[tuple[Graph, Inputs]]:
    """The differing neuron's output channel alone, where one synapse makes up the layer."""
    graph = case.graph
    layer = graph[case.difference["layer"]]
    synapse = graph[layer.inputs[0]] if layer.inputs else layer
    op = synapse.operation
    simple = isinstance(op, Dense) or (isinstance(op, Conv) and op.groups == 1)
    behind = (node.operation for node in graph.nodes[_index(graph, layer) + 1 :])
    last = all(isinstance(op, Affine | Accumulate) for op in behind)
    if not simple or not last or synapse.type.shape[0] == 1:
        return
    channel = case.difference["neuron"][0]
    params = dict(graph.params)
    changed = {}
    for node in (synapse, layer):
        names = {}
        for role in node.params:
            array, name = graph.array(node, role), f"{node.name}.{role}.one"
            if role not in ("w", "b"):
                array = np.asarray(spread(array, node.type.shape))
            if array.shape[:1] == node.type.shape[:1]:
                array = array[channel : channel + 1]
            params[name] = Param.of(array, graph.params[node.params[role]].type.dtype)
            names[role] = name
        changed[node.name] = replace(node, params=names)
    nodes = []
    for node in graph.nodes:
        node = changed.get(node.name, node)
        if node.name in changed or _index(graph, node) > _index(graph, layer):
            node = replace(node, type=replace(node.type, shape=(1, *node.type.shape[1:])))
        nodes.append(node)
    yield graph.with_nodes(nodes, params), case.feeds


def _index(graph: Graph, node: Node) -> int:
    return [n.name for n in graph.nodes].index(node.name)


def _fewer_inputs(case: Case, engines: Engines) -> None:
    """Set input elements to 0, half of them first, while the engines still differ."""
    trials, before = 0, _nonzero(case)
    for name in list(case.feeds):
        parts = 2
        while trials < _TRIALS:
            places = np.argwhere(case.feeds[name])
            if len(places) == 0 or parts > 2 * len(places):
                break
            for part in np.array_split(places, min(parts, len(places))):
                trials += 1
                x = case.feeds[name].copy()
                x[tuple(part.T)] = 0
                if _try(case, engines, case.graph, {**case.feeds, name: x}, ""):
                    break
                if trials >= _TRIALS:
                    break
            else:
                parts *= 2
    if _nonzero(case) < before:
        case.cuts.append(f"non-zero inputs: {before} to {_nonzero(case)}")


def _nonzero(case: Case) -> int:
    return sum(int(np.count_nonzero(x)) for x in case.feeds.values())
