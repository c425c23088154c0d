"""From an integer graph to a plan."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import numpy as np

from spikec.backends.lowering.neurons import RULES, pooled, reset, sent, start
from spikec.backends.lowering.records import (
    Integers,
    IntegrateWindow,
    Layer,
    Numbers,
    Plan,
    Pool,
    Range,
    Reshape,
    Route,
    Rule,
    Spikes,
    Store,
    Term,
    Units,
    Value,
)
from spikec.backends.lowering.routes import ROUTES
from spikec.backends.lowering.synapses import SYNAPSES, constant, identity, windowed
from spikec.ir import BackendError, Graph, Node, op_of, spread
from spikec.ir.ops.max_pool_count import MaxPoolCount
from spikec.runtime.ranges import Ranges, ranges_of

WIDEST = 63
"""Bits of the widest number, so that sums and comparisons of two fit 64."""


def lower(graph: Graph, steps: int | None = None) -> Plan:
    """The stages of an integer graph.

    Synapses and joins become terms of the layer that they reach; a current that something else
    reads, too, or that is not proven to fit its width, becomes a layer of its own.

    Args:
        graph: At stage int.
        steps: Time steps; the graph's own by default.

    Raises:
        BackendError: naming the node that has no place in a plan.
    """
    if graph.stage != "int":
        raise BackendError(f"a graph of stage {graph.stage}; only stage int can be emitted")
    steps = steps or graph.steps
    lowering = _Lowering(graph, steps, ranges_of(graph, steps))
    for node in graph.nodes:
        known = node.op in ("input", "add", "reshape", "max_pool_count")
        if not known and not any(node.op in table for table in (RULES, SYNAPSES, ROUTES)):
            raise BackendError(f"%{node.name} = {node.op} cannot be lowered yet", loc=node.loc)
        if node.op == "input" or op_of(node).stateful:
            lowering.value(node.name)
    inputs = tuple(lowering.values[node.name] for node in graph.inputs)
    ports = {node.name: _units(graph, node) for node in graph.inputs}
    ports |= {name: _units(graph, graph[name]) for name in graph.outputs}
    return Plan(
        graph.name, graph.source, steps, inputs, tuple(lowering.stages), graph.outputs, ports
    )


def _units(graph: Graph, node: Node) -> Units:
    def real(role: str, missing: float) -> tuple[float, ...]:
        if role not in node.params:
            return (missing,)
        array = np.asarray(graph.array(node, role), np.float64)
        if array.ndim > 1:
            array = np.broadcast_to(spread(array, node.type.shape), node.type.shape)
        return tuple(array.reshape(-1).tolist())

    return Units(node.loc or node.name, real("scale", 1.0), real("offset", 0.0))


@dataclass(slots=True)
class _Lowering:
    """The plan as far as it is made."""

    graph: Graph
    steps: int
    ranges: Ranges
    values: dict[str, Value] = field(default_factory=dict)
    stages: list[Layer | Pool | Route | Reshape] = field(default_factory=list)
    nodes: Mapping[str, Node] = field(init=False)
    uses: Counter[str] = field(init=False)

    def __post_init__(self) -> None:
        self.nodes = self.graph.by_name
        self.uses = Counter(name for node in self.graph.nodes for name in node.inputs)
        self.uses.update(self.graph.outputs)

    def value(self, name: str) -> Value:
        """A node's value; the stage that makes it is added where it is read first."""
        if name not in self.values:
            node = self.nodes[name]
            if node.op == "input":
                low, high = node.type.dtype.bounds
                coding = Numbers(Range(low, high), timed=False)
                self.values[name] = Value(name, node.type.shape, coding)
            else:
                stage = self._stage(node)
                self.stages.append(stage)
                self.values[name] = stage.result
        return self.values[name]

    def _stage(self, node: Node) -> Layer | Pool | Route | Reshape:
        if node.op == "max_pool_count":
            return self._pool(node)
        if node.op == "reshape":
            source = self.value(node.inputs[0])
            return Reshape(replace(source, name=node.name, shape=node.type.shape), source, node.loc)
        if node.op in ROUTES:
            return self._route(node)
        if node.op in RULES:
            return self._layer(
                node, RULES[node.op](self.graph, node), *self._current(node.inputs[0])
            )
        return self._stored(node)

    # Sums

    def _current(self, name: str) -> tuple[list[Term], list[Integers]]:
        """The terms and constants that add up to a value."""
        node = self.nodes[name]
        linear = node.op == "add" or node.op in SYNAPSES
        if linear and self.uses[name] == 1 and self.ranges.values[name].fits:
            return self._terms(node)
        return [identity(node, self.value(name))], []

    def _terms(self, node: Node) -> tuple[list[Term], list[Integers]]:
        if node.op == "add":
            parts = [self._current(name) for name in node.inputs]
            return [t for part in parts for t in part[0]], [b for part in parts for b in part[1]]
        name = node.inputs[0]
        if node.op == "dense":  # it reads all elements, in whatever shape
            while self.nodes[name].op == "reshape":
                name = self.nodes[name].inputs[0]
        term = SYNAPSES[node.op](self.graph, node, self.value(name))
        biases = [self._param(node, "b")] if "b" in node.params else []
        return [term], biases

    def _param(self, node: Node, role: str) -> Integers:
        return constant(self.graph.array(node, role), node.type.shape)

    # Layers

    def _layer(self, node: Node, rule: Rule, terms: list[Term], biases: list[Integers]) -> Layer:
        if "bias" in node.params:
            biases = [*biases, self._param(node, "bias")]
        shape = node.type.shape
        bias = constant(sum((_wide(b, shape) for b in biases), np.zeros((), np.int64)), shape)
        total = Range.of(bias)
        for term in terms:
            total += term.range
        state, limits = self._state(node, rule, total)
        spikes = sent(rule)
        if spikes is None:
            held = limits or state
            spikes_or_numbers: Spikes | Numbers = Numbers(held, _timed(rule, terms))
        else:
            spikes_or_numbers = spikes
        for part in (total, state):
            if part.bits > WIDEST:
                raise BackendError(
                    f"%{node.name} may reach {max(part.high, -part.low)}, beyond {WIDEST} bits",
                    loc=node.loc,
                    hint="compile with fewer --weight-bits or --timesteps",
                )
        result = Value(node.name, shape, spikes_or_numbers)
        return Layer(result, tuple(terms), bias, rule, total, state, limits, node.loc)

    def _state(self, node: Node, rule: Rule, total: Range) -> tuple[Range, Range | None]:
        """The range of a potential, and the limits that it must be checked against, if any."""
        stored = isinstance(rule, Store)
        bound = (self.ranges.values if stored else self.ranges.potentials)[node.name]
        if bound.fits:
            return Range(bound.low, bound.high).hull(start(rule)), None
        limits = Range(*bound.limits)
        if stored:
            return total, limits
        before = limits + total
        if isinstance(rule, IntegrateWindow):
            gathered = Range(total.low * self.steps, total.high * self.steps)
            before = limits.hull(gathered + start(rule))
        return before.hull(before + reset(rule), start(rule) + total, start(rule)), limits

    def _stored(self, node: Node) -> Layer:
        return self._layer(node, Store(), *self._terms(node))

    # Other stages

    def _pool(self, node: Node) -> Pool:
        source = self.value(node.inputs[0])
        if not isinstance(source.coding, Spikes):
            raise BackendError(f"%{node.name} pools numbers, not spikes", loc=node.loc)
        axes = windowed(op_of(node, MaxPoolCount).window, source, node.type.shape[1:])
        for axis in axes:
            for out in range(axis.outputs):
                reads = (out * axis.stride + k * axis.dilation - axis.pad for k in range(axis.taps))
                if not any(0 <= i < axis.inputs for i in reads):
                    raise BackendError(f"%{node.name}: a window holds pads alone", loc=node.loc)
        ends = source.range
        state = Range(ends.low * self.steps, ends.high * self.steps)
        result = Value(node.name, node.type.shape, pooled(source.coding))
        return Pool(result, source, axes, state, node.loc)

    def _route(self, node: Node) -> Route:
        sources = [self.value(name) for name in node.inputs]
        pieces = tuple(ROUTES[node.op](node, sources))
        return Route(Value(node.name, node.type.shape, _together(sources)), pieces, node.loc)


def _wide(array: Integers, shape: tuple[int, ...]) -> Integers:
    """(channels,) or (*shape) as something that broadcasts to (*shape)."""
    return array.reshape(-1, *(1,) * (len(shape) - 1)) if array.ndim < len(shape) else array


def _timed(rule: Rule, terms: list[Term]) -> bool:
    return not isinstance(rule, Store) or any(term.source.timed for term in terms)


def _together(sources: list[Value]) -> Spikes | Numbers:
    """A coding that holds what all sources hold, and 0."""
    spikes = [s.coding for s in sources if isinstance(s.coding, Spikes)]
    if not spikes:
        held = sources[0].range.hull(Range(0, 0), *(s.range for s in sources))
        return Numbers(held, any(s.timed for s in sources))
    payloads = tuple(dict.fromkeys(p for coding in spikes for p in coding.payloads))
    return Spikes(payloads, all(coding.exclusive for coding in spikes))
