"""Calibration layer by layer on the spikes that the converted earlier layers really emit.

A sweep visits the layers in topological order. At each one its methods act in turn; then the
layer's spikes travel on, so every layer also absorbs what remains wrong in those before it. Only
spikes are kept between layers, and only as long as a later layer reads them: currents are computed
from them again, so memory does not grow with the network's depth.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import reduce
from typing import ClassVar

import numpy as np

from spikec.compiler.calibration.cone import StoredCone
from spikec.compiler.calibration.layer import Layer, Neurons, Synapse
from spikec.compiler.calibration.reference import kept_samples, reference
from spikec.compiler.calibration.steps import Steps, found, restored
from spikec.compiler.calibration.thresholds import is_exact
from spikec.compiler.passes import Clock, Context, Pass, Record, naming
from spikec.ir import F32, Graph, GraphBuilder, Node, Param, op_of, spread
from spikec.ir.analysis import cone_of, last_reads
from spikec.ir.neuron import Membrane, Neuron
from spikec.ir.op import Stateful
from spikec.ir.op import Synapse as SynapseOp
from spikec.ir.ops.activations.clip import Clip
from spikec.ir.ops.activations.qcfs import Qcfs
from spikec.ir.ops.input import Input
from spikec.ir.ops.routing.add import Add
from spikec.ir.types import Array
from spikec.runtime.interpreter import over_time
from spikec.runtime.metrics import payload_bits

JUDGED = 64
"""Samples on which errors are measured for the report, at most."""
_JUDGED_BYTES = 1 << 26
"""Room for the currents of those samples, which are kept while methods change neurons alone."""


@dataclass(frozen=True)
class LayerPass(Pass, ABC):
    """A pass that works on one layer at a time: a method of calibration.

    Neighbours among them become one pass, in which they share a walk over the layers: that is what
    makes them work together, and it lets the report say for each layer what each of them bought.
    """

    stages = ("snn",)
    everywhere: ClassVar[bool] = False
    """Whether it acts also on layers that were trained with QCFS and need no calibration."""

    @abstractmethod
    def fit(self, layer: Layer, record: Record) -> Layer:
        """The layer with new parameters."""

    def run(self, graph: Graph, context: Context, record: Record) -> Graph:
        """Apply this method alone to every layer."""
        with context.clock("sweep"):
            return _sweep((self,), graph, context, (record,))

    def joined(self, following: Pass) -> Pass | None:
        """A sweep of this method and the next."""
        return _Sweep((self, following)) if isinstance(following, LayerPass) else None


@dataclass(frozen=True)
class _Sweep(Pass):
    """Several methods of calibration in one walk over the layers."""

    methods: tuple[LayerPass, ...]
    stages = ("snn",)

    @property
    def parts(self) -> tuple[Pass, ...]:
        return self.methods

    def joined(self, following: Pass) -> Pass | None:
        if not isinstance(following, LayerPass):
            return None
        return _Sweep((*self.methods, following))

    def record(self) -> Record:
        parts = [method.record() for method in self.methods]
        return Record("+".join(part.name for part in parts), {}, parts=parts)

    def run(self, graph: Graph, context: Context, record: Record) -> Graph:
        if context.judge is not None:
            with context.clock("judge"):
                self._judge_prefixes(graph, context, record)
        return _sweep(self.methods, graph, context, record.parts)

    def _judge_prefixes(self, graph: Graph, context: Context, record: Record) -> None:
        """Judge each method but the last: the network after a sweep of it and those before."""
        assert context.judge is not None
        for count in range(1, len(self.methods)):
            part = _Sweep(self.methods[:count])
            apart = replace(context, judge=None, clock=Clock())
            swept = part.run(graph, apart, part.record())
            record.parts[count - 1].judged = context.judge(swept)

    def __str__(self) -> str:
        return ",".join(map(str, self.methods))


def _sweep(
    methods: Sequence[LayerPass], graph: Graph, context: Context, records: Sequence[Record]
) -> Graph:
    """Apply methods to every layer in topological order.

    Records the relative squared error of each layer before and after each method.
    """
    # The walk changes params and element types only, so what is a cone before it stays one.
    cones = {n.name: cone_of(graph, n.inputs) for n in graph.nodes if op_of(n).stateful}
    released = last_reads((name, [s.name for s in c.sources]) for name, c in cones.items())
    calib = kept_samples(graph, released, context, records[0])
    ann = context.last["ann"]
    wanted_values = reference(ann, graph, calib, context.counterparts)
    rng = np.random.default_rng(context.seed)
    builder = GraphBuilder(graph)
    stored: dict[str, Array] = {}
    done, total = 0, sum(isinstance(n.operation, Membrane) for n in graph.nodes)
    walk = ",".join(map(str, methods))
    steps = Steps(walk, graph, context, rng, records, (total, "layer"))
    for node in graph.nodes:
        if isinstance(node.operation, Input):
            stored[node.name] = over_time(node, calib, context.steps).astype(np.float32)
        elif isinstance(node.operation, Membrane):
            before, target = next(wanted_values)
            neuron = op_of(node).neuron
            activation = ann[context.counterparts[node.name]] if neuron else node
            radix = op_of(node, Membrane).radix
            cone = StoredCone.of(builder, node.inputs[0], cones[node.name], stored, radix)
            layer = Layer(
                node=node,
                neurons=_read(builder, node),
                current=cone.held(),
                before=before,
                target=target,
                steps=context.steps,
                bounded=isinstance(activation.operation, Clip | Qcfs),
                exact=is_exact(context, node),
                rng=rng,
                synapses=_synapses(graph, builder, node, stored),
                skips=_skips(graph, builder, node),
                cone=cone,
                payload_bits=context.payload_bits.get(context.counterparts[node.name], 0),
            )
            wanted = [
                (method, record)
                for method, record in zip(methods, records, strict=True)
                if method.everywhere or not layer.exact
            ]
            step = steps.taken(node.name, done + 1)
            if step is not None:
                layer = restored(layer, step)
            else:
                start, layer = layer, _fit(wanted, layer, context.clock)
                steps.add(node.name, found(start, layer), layer.neurons.op)
            if layer.spiking:
                stored[node.name] = layer.spikes()
                if layer.payload_bits:
                    _count_bits(records[-1], layer, stored[node.name])
            _write(builder, layer)
            done += 1
            context.progress("calibrate", done, total)
        elif op_of(node).stateful:
            _retype(builder, node)
            inputs = [stored[name] for name in node.inputs]
            stored[node.name] = op_of(node, Stateful).scan(inputs, {}, context.steps)[0]
        for name in released.get(node.name, ()):
            stored.pop(name, None)
    return builder.finish()


def _count_bits(record: Record, layer: Layer, spikes: Array) -> None:
    """Record what a budget is about: spikes of a sample, and what each carries."""
    assert layer.neurons.op is not None
    record.layer(
        layer.node.name,
        spikes=np.count_nonzero(spikes) / spikes.shape[1],
        spike_bits=payload_bits(layer.neurons.op, layer.steps),
    )


def _joined(nodes: Mapping[str, Node], layer: Node) -> list[Node]:
    """What a layer's current is the sum of: the inputs of a join, or one value."""
    source = nodes[layer.inputs[0]]
    joins = isinstance(source.operation, Add)
    return [nodes[name] for name in source.inputs] if joins else [source]


def _direct_synapses(graph: Graph, layer: Node) -> list[Node]:
    """Synapses that feed a layer alone, directly or through one join.

    Only these may get other weights: what a shared synapse wins in one layer it loses in another.
    """
    source = graph[layer.inputs[0]]
    if isinstance(source.operation, Add) and len(graph.readers[source.name]) > 1:
        return []
    return [
        node
        for node in _joined(graph.by_name, layer)
        if isinstance(op := node.operation, SynapseOp)
        and not op.one_to_one
        and len(graph.readers[node.name]) == 1
    ]


def _synapses(
    graph: Graph, builder: GraphBuilder, layer: Node, stored: Mapping[str, Array]
) -> tuple[Synapse, ...]:
    synapses = []
    for node in _direct_synapses(graph, layer):
        below = cone_of(graph, node.inputs)
        radix = op_of(layer, Membrane).radix
        cone = StoredCone.of(builder, node.inputs[0], below, stored, radix)
        units = {source.name: _unit(builder, source) for source in below.sources}
        unit = replace(cone, stored=units).mean()[0]
        synapses.append(Synapse(node, cone.mean(), builder.array(node, "w"), unit))
    return tuple(synapses)


def _skips(graph: Graph, builder: GraphBuilder, layer: Node) -> tuple[Array, ...]:
    """Weights (channels,) of one-to-one synapses that reach a layer through a join."""
    skips = _joined(graph.by_name, layer)
    return tuple(
        np.broadcast_to(w, node.type.shape[:1])
        for node in skips
        if len(skips) > 1
        and isinstance(op := node.operation, SynapseOp)
        and op.one_to_one
        and (w := builder.array(node, "w")).ndim <= 1
    )


def _unit(builder: GraphBuilder, node: Node) -> Array:
    """One spike everywhere, or one unit of the input code (1, 1, *shape)."""
    coded = isinstance(node.operation, Input) and "scale" in node.params
    size = spread(builder.array(node, "scale"), node.type.shape) if coded else np.ones(())
    return np.broadcast_to(size.astype(np.float32), (1, 1, *node.type.shape))


def _fit(methods: Sequence[tuple[LayerPass, Record]], layer: Layer, clock: Clock) -> Layer:
    """Let all methods act on a layer; errors are measured on its first samples."""
    if not methods:
        return layer
    judged = _judged(layer)
    error = judged.error()
    for index, (method, record) in enumerate(methods):
        current = layer.current
        following = _in_turn([method for method, _ in methods[index + 1 :]])
        with naming(method.name), clock(method.name):
            layer = method.fit(replace(layer, following=following), record)
        same = layer.current is current
        judged = replace(judged, neurons=layer.neurons) if same else _judged(layer)
        after = judged.error()
        record.layer(layer.node.name, error_before=error, error_after=after)
        error = after
    return layer


def _in_turn(methods: Sequence[LayerPass]) -> Callable[[Layer], Layer]:
    """What methods make of a layer, without a record of it."""
    return lambda layer: reduce(
        lambda made, method: method.fit(made, method.record()), methods, layer
    )


def _judged(layer: Layer) -> Layer:
    """A layer on as many samples as errors are measured on."""
    room = _JUDGED_BYTES // (4 * layer.steps * layer.node.type.size)
    return layer.part(slice(0, max(1, min(JUDGED, room))))


def _retype(builder: GraphBuilder, node: Node) -> None:
    """Give a pooling the type of the spikes that it now receives."""
    dtype = builder[node.inputs[0]].type.dtype
    if dtype != node.type.dtype:
        builder.replace(replace(node, type=node.type.with_dtype(dtype)))


def _read(builder: GraphBuilder, node: Node) -> Neurons:
    bias = builder.array(node, "bias") if "bias" in node.params else np.zeros((), np.float32)
    op = node.operation
    if not isinstance(op, Neuron):
        return Neurons(None, np.ones(()), np.zeros(()), bias)
    theta, v0 = builder.array(node, "theta"), builder.array(node, "v0")
    bare = Neurons(op, theta, v0, bias)
    others = [role for role in node.params if role not in ("theta", "v0", "bias")]
    more = {role: builder.array(node, role) for role in others if not op.params[role].is_unit}
    shares = {r: array / theta if bare.is_share(r) else array for r, array in more.items()}
    return replace(bare, more=shares)


def _write(builder: GraphBuilder, layer: Layer) -> None:
    """Put a layer's parameters into the graph; what carries its amplitude on reads theta too."""
    node, neurons = layer.node, layer.neurons
    values = neurons.params()
    if neurons.op is not None:
        op = replace(neurons.op, core=op_of(node, Neuron).core)
        node = replace(node, operation=op, type=node.type.with_dtype(op.payload))
    roles = {role: node.params.get(role, f"{node.name}.{role}") for role in values}
    for role, value in values.items():
        builder.set_param(roles[role], Param.of(value, F32))
    builder.replace(replace(node, params=roles))
    for synapse in layer.synapses:
        own = builder.declare(synapse.node, {"w": synapse.weights})
        builder.replace(replace(own, params={**synapse.node.params, **own.params}))
