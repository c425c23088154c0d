"""From an integer graph to a plan."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import numpy as np

from spikec.backends.lowering.neurons import RULES, gathered, pooled, reset, sent, start
from spikec.backends.lowering.records import (
    Integers,
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
    doubles,
    gathers,
)
from spikec.backends.lowering.routes import ROUTES
from spikec.backends.lowering.synapses import SYNAPSES, constant, identity, windowed
from spikec.ir import BackendError, Graph, Node, op_of, spread
from spikec.ir.exact import LARGEST, magnitude
from spikec.ir.neuron import Membrane, total_weight
from spikec.ir.ops.input import Input
from spikec.ir.ops.max_pool_count import MaxPoolCount
from spikec.runtime.ranges import Ranges, ranges_of

INPUTS = ("input", "frames")
POOLS = ("max_pool_count", "max_pool_radix")
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
        known = node.op in (*INPUTS, "add", "reshape", *POOLS)
        if not known and not any(node.op in table for table in (RULES, SYNAPSES, ROUTES)):
            raise BackendError(f"%{node.name} = {node.op} cannot be lowered yet", loc=node.loc)
        if node.op in INPUTS or op_of(node).stateful or lowering.watched(node):
            lowering.value(node.name)
    inputs = tuple(lowering.values[node.name] for node in graph.inputs)
    ports = {node.name: _units(graph, node, steps) for node in graph.inputs}
    ports |= {name: _units(graph, graph[name], steps) for name in graph.outputs}
    return Plan(
        graph.name, graph.source, steps, inputs, tuple(lowering.stages), graph.outputs, ports
    )


def _units(graph: Graph, node: Node, steps: int) -> Units:
    def real(role: str, missing: float) -> tuple[float, ...]:
        if role not in node.params:
            return (missing,)
        array = np.asarray(graph.array(node, role), np.float64)
        if array.ndim > 1:
            array = np.broadcast_to(spread(array, node.type.shape), node.type.shape)
        return tuple(array.reshape(-1).tolist())

    op = op_of(node)
    weight = total_weight(steps, radix=op.radix) if isinstance(op, Membrane) else 1
    return Units(node.loc or node.name, real("scale", 1.0), real("offset", 0.0), weight)


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
            if node.op in INPUTS:
                low, high = node.type.dtype.bounds
                coding = Numbers(Range(low, high), timed=op_of(node, Input).timed)
                self.values[name] = Value(name, node.type.shape, coding)
            else:
                stage = self._stage(node)
                self.stages.append(stage)
                self.values[name] = stage.result
        return self.values[name]

    def watched(self, node: Node) -> bool:
        """Whether a current must be computed to see that it fits its width, read or not."""
        linear = node.op == "add" or node.op in SYNAPSES
        return linear and not self.ranges.values[node.name].fits

    def _stage(self, node: Node) -> Layer | Pool | Route | Reshape:
        if node.op in POOLS:
            return self._pool(node)
        if node.op == "reshape" or (node.op in ROUTES and not node.type.shape):  # a scalar stays
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
        if sum(map(magnitude, biases)) >= LARGEST:
            raise BackendError(f"%{node.name} has constants beyond 62 bits", loc=node.loc)
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
        self._narrow(node, total, state)
        result = Value(node.name, shape, spikes_or_numbers)
        return Layer(result, tuple(terms), bias, rule, total, state, limits, node.loc)

    def _state(self, node: Node, rule: Rule, total: Range) -> tuple[Range, Range | None]:
        """The range of a potential, and the limits that it must be checked against, if any."""
        stored = isinstance(rule, Store)
        bound = (self.ranges.values if stored else self.ranges.potentials)[node.name]
        limits = Range(*bound.limits)
        if stored:
            return (Range(bound.low, bound.high), None) if bound.fits else (total, limits)
        if bound.fits:
            held = Range(bound.low, bound.high).hull(start(rule))
        else:
            held = limits.hull(start(rule))
            held = held.hull(held + total, held + reset(rule, self.steps))
        if gathers(rule) and (doubles(rule) or not bound.fits):
            held = held.hull(gathered(rule, total, self.steps))
        if doubles(rule):  # the potential is doubled before a sum joins it
            twice = held if bound.fits or gathers(rule) else Range(2 * held.low, 2 * held.high)
            held = twice.hull(twice + total, twice + Range(-total.high, -total.low))
        if not bound.fits:
            held = held.hull(held + reset(rule, self.steps))
        return held, None if bound.fits else limits

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
        ends, radix = source.range, op_of(node, MaxPoolCount).radix
        weight = total_weight(self.steps, radix=radix)
        state = Range(ends.low * weight, ends.high * weight)
        self._narrow(node, state)
        if radix and ends.hull(Range(-1, 1)) != Range(-1, 1):
            raise BackendError(f"%{node.name} = {node.op} pools payloads", loc=node.loc)
        result = Value(node.name, node.type.shape, pooled(source.coding))
        return Pool(result, source, axes, state, radix, node.loc)

    def _narrow(self, node: Node, *held: Range) -> None:
        """Refuse a node whose numbers are too wide for a plan."""
        for part in held:
            if part.bits > WIDEST:
                raise BackendError(
                    f"%{node.name} = {node.op} may reach {max(part.high, -part.low)}, beyond "
                    f"{WIDEST} bits",
                    loc=node.loc,
                    hint="compile with fewer --weight-bits or --timesteps",
                )

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
