"""Calibration layer by layer on the spikes that the converted earlier layers really emit."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from spikec.compiler.calibration.cone import Cone, Currents, cone_nodes
from spikec.compiler.calibration.thresholds import trained
from spikec.compiler.pipeline import Context, Pass, Record
from spikec.ir import F32, Graph, Node, Param, PassError, op_of, spread
from spikec.ir.neuron import Neuron
from spikec.ir.op import Stateful
from spikec.ir.ops.activations.qcfs import Qcfs
from spikec.ir.ops.neurons.integrate_graded import IntegrateGraded
from spikec.ir.ops.neurons.integrate_signed import IntegrateSigned
from spikec.ir.types import spikes
from spikec.runtime import fast, kernels
from spikec.runtime.interpreter import evaluate

Array = NDArray[Any]
READOUT = -1
"""Kind of a readout, which accumulates and never fires."""
JUDGED = 64
"""Samples on which errors are measured for the report."""


@dataclass(frozen=True, slots=True)
class Neurons:
    """The parameters of one layer's neurons, per channel, per tensor or per neuron.

    Attributes:
        kind: UNSIGNED, SIGNED, FREE or READOUT.
        theta: Firing thresholds.
        v0: Initial potentials.
        bias: Current added in every step.
        levels: Number of payloads; 1 for neurons that send unit events.
        fire: Of graded neurons, the share of theta from which on they send a payload of 1.
    """

    kind: int
    theta: Array
    v0: Array
    bias: Array
    levels: int = 1
    fire: Array | None = None


@dataclass(frozen=True, slots=True)
class Synapse:
    """A synapse whose current reaches the layer directly or through a join.

    Attributes:
        node: The synapse node.
        rates: Its input averaged over the steps (samples, *input shape).
        weights: Its weights.
        unit: Its input (*input shape) when everything that it comes from sends one unit.
    """

    node: Node
    rates: Array
    weights: Array
    unit: Array


@dataclass(frozen=True, slots=True)
class Layer:
    """One layer on the calibration data, and the parameters found for it so far.

    Attributes:
        node: The neuron or readout node.
        neurons: Its parameters.
        current: Its input without bias, from real spikes.
        before: The ANN's activation input (samples, *shape).
        target: The ANN's activation (samples, *shape).
        steps: T.
        bounded: Whether thresholds must not rise (a clipped activation).
        rng: For every random choice.
        synapses: Synapses whose weights may be changed.
        cone: How the current comes about.
    """

    node: Node
    neurons: Neurons
    current: Currents
    before: Array
    target: Array
    steps: int
    bounded: bool
    rng: np.random.Generator
    synapses: tuple[Synapse, ...] = ()
    cone: Cone | None = None

    @property
    def spiking(self) -> bool:
        """Whether the layer fires; a readout does not."""
        return self.neurons.kind != READOUT

    def spikes(self) -> Array:
        """The spikes that the layer emits (steps, samples, *shape)."""
        found = self.neurons
        params = {"theta": found.theta, "v0": found.v0, "bias": found.bias}
        if found.fire is not None:
            params["fire"] = found.theta * found.fire
        return np.concatenate(
            [
                fast.scan(block, params, found.kind, self.steps, keep=False, levels=found.levels)[0]
                for _, block in self.current.blocks()
            ],
            axis=1,
        )

    def rate(self) -> Array:
        """What the layer tells the next one, on average over the steps (samples, *shape)."""
        if not self.spiking:
            return self.mean_current()
        count = self.spikes().sum(axis=0, dtype=np.float32)
        return count * (spread(self.neurons.theta, self.node.type.shape) / self.steps)

    def mean_current(self) -> Array:
        """The input current with bias, averaged over the steps (samples, *shape)."""
        return self.current.mean() + spread(self.neurons.bias, self.node.type.shape)

    def error(self) -> float:
        """Relative squared error of the rates: `sum((rate - target)^2) / sum(target^2)`."""
        off = self.rate() - self.target
        return float((off**2).sum() / max(float((self.target**2).sum()), 1e-30))

    def with_neurons(self, **changes: Any) -> Layer:
        """The layer with other neuron parameters."""
        return replace(self, neurons=replace(self.neurons, **changes))

    def with_weights(self, index: int, weights: Array) -> Layer:
        """The layer with other weights of one synapse, and the current that they give."""
        assert self.cone is not None
        synapses = list(self.synapses)
        synapses[index] = replace(synapses[index], weights=weights)
        cone = self.cone.with_weights(synapses[index].node.name, weights)
        return replace(self, cone=cone, current=cone.held(), synapses=tuple(synapses))

    def part(self, samples: slice) -> Layer:
        """The layer on some of the samples, its weights fixed."""
        return replace(
            self,
            current=self.current.part(samples),
            before=self.before[samples],
            target=self.target[samples],
            synapses=(),
            cone=None,
        )


@dataclass(frozen=True)
class LayerPass(Pass):
    """A pass that works on one layer at a time.

    Neighbouring layer passes share one sweep: at each layer they act in order, then the layer's
    spikes travel on, so each layer also absorbs what remains wrong in those before it.
    """

    stages = ("snn",)
    everywhere: ClassVar[bool] = False
    """Whether it acts also on layers that were trained with QCFS and need no calibration."""

    def fit(self, layer: Layer, record: Record) -> Layer:
        """The layer with new parameters."""
        raise NotImplementedError(self.name)


def sweep(
    passes: Sequence[LayerPass], graph: Graph, context: Context, records: Sequence[Record]
) -> Graph:
    """Apply layer passes to every layer in topological order.

    Records the relative squared error of each layer before and after each pass.
    """
    calib = context.data(passes[0].name)
    if "ann" not in context.last:
        raise PassError(f"pass {passes[0].name} needs the ANN that the graph came from")
    ann = context.last["ann"]
    reference = _reference(ann, graph, calib)
    rng = np.random.default_rng(context.seed)
    layers = [node.name for node in graph.nodes if _is_layer(node)]
    stored: dict[str, Array] = {}
    released = _released(graph)
    for node in graph.nodes:
        if node.op == "input":
            stored[node.name] = np.asarray(calib[node.name], np.float32)[None]
        elif _is_layer(node):
            before, target = next(reference)
            activation = ann.by_name.get(node.name, node)
            cone = Cone.of(graph, node.inputs[0], stored)
            layer = Layer(
                node=node,
                neurons=_read(graph, node),
                current=cone.held(),
                before=before,
                target=target,
                steps=context.steps,
                bounded=activation.op in ("clip", "qcfs"),
                rng=rng,
                synapses=_synapses(graph, node, stored),
                cone=cone,
            )
            exact = _exact(activation, context.steps)
            wanted = [
                (each, record)
                for each, record in zip(passes, records, strict=True)
                if each.everywhere or not exact
            ]
            layer = _fit(wanted, layer)
            if layer.spiking:
                stored[node.name] = layer.spikes()
            graph = _write(graph, layer)
            context.progress("calibrate", layers.index(node.name) + 1, len(layers))
        elif op_of(node).stateful:
            graph = _typed(graph, node)
            inputs = [stored[name] for name in node.inputs]
            stored[node.name] = op_of(node, Stateful).scan(inputs, {}, context.steps)[0]
        for name in released.get(node.name, ()):
            stored.pop(name, None)
    return graph


def _exact(activation: Node, steps: int) -> bool:
    """Whether a layer was trained with QCFS for at most this many steps: nothing to calibrate."""
    op = activation.operation
    return isinstance(op, Qcfs) and trained(activation) and op.levels <= steps


def _is_layer(node: Node) -> bool:
    return op_of(node).neuron or node.op == "accumulate"


def _released(graph: Graph) -> dict[str, list[str]]:
    """For each layer, the stored values that no later layer starts from."""
    final: dict[str, str] = {}
    for node in graph.nodes:
        if op_of(node).stateful:
            final[node.name] = node.name
            final.update(dict.fromkeys(cone_nodes(graph, node.inputs[0])[1], node.name))
    released: dict[str, list[str]] = {}
    for name, reader in final.items():
        released.setdefault(reader, []).append(name)
    return released


def _direct_synapses(graph: Graph, layer: Node) -> list[Node]:
    """Synapses that feed a layer alone, directly or through one join."""
    nodes, readers = graph.by_name, graph.consumers()
    source = nodes[layer.inputs[0]]
    joined = [nodes[name] for name in source.inputs] if source.op == "add" else [source]
    if source.op == "add" and len(readers[source.name]) > 1:
        return []
    return [
        node
        for node in joined
        if op_of(node).weighted and node.op != "affine" and len(readers[node.name]) == 1
    ]


def _synapses(graph: Graph, layer: Node, stored: dict[str, Array]) -> tuple[Synapse, ...]:
    found = []
    for node in _direct_synapses(graph, layer):
        cone = Cone.of(graph, node.inputs[0], stored)
        units = {name: _unit(graph[name], graph) for name in cone.stored}
        unit = replace(cone, stored=units).mean()[0]
        found.append(Synapse(node, cone.mean(), graph.array(node, "w"), unit))
    return tuple(found)


def _unit(node: Node, graph: Graph) -> Array:
    """One spike everywhere, or one unit of the input code (1, 1, *shape)."""
    coded = node.op == "input" and "scale" in node.params
    size = spread(graph.array(node, "scale"), node.type.shape) if coded else np.ones(())
    return np.broadcast_to(size.astype(np.float32), (1, 1, *node.type.shape))


def _reference(ann: Graph, snn: Graph, calib: Any) -> Iterator[tuple[Array, Array]]:
    """Each layer's input and value in the ANN, in the order of the spiking graph's layers."""
    order = [node.name for node in snn.nodes if _is_layer(node)]
    outputs = dict(zip(snn.outputs, ann.outputs, strict=True))
    sources = {name: (ann[name].inputs[0], name) for name in order if name not in outputs}
    sources |= {name: (outputs[name], outputs[name]) for name in outputs}
    last = {value: name for name in order for value in sources[name]}
    held: dict[str, Array] = {}
    evaluated = evaluate(ann, calib)
    for name in order:
        before, target = sources[name]
        while target not in held:
            node, value = next(evaluated)
            if node.name in last:
                held[node.name] = value
        yield held[before], held[target]
        for done in {before, target}:
            if last[done] == name:
                del held[done]


def _fit(passes: Sequence[tuple[LayerPass, Record]], layer: Layer) -> Layer:
    """Let all passes act on a layer; errors are measured on its first samples."""
    if not passes:
        return layer
    judged = slice(0, JUDGED)
    error = layer.part(judged).error()
    for each, record in passes:
        start = time.perf_counter()
        layer = each.fit(layer, record)
        after = layer.part(judged).error()
        record.layer(layer.node.name, error_before=error, error_after=after)
        record.seconds += time.perf_counter() - start
        error = after
    return layer


def _typed(graph: Graph, node: Node) -> Graph:
    """The graph with the type of a pooling that now receives other spikes."""
    dtype = graph[node.inputs[0]].type.dtype
    if dtype == node.type.dtype:
        return graph
    typed = replace(node, type=node.type.with_dtype(dtype))
    return graph.with_nodes(typed if n.name == node.name else n for n in graph.nodes)


def _read(graph: Graph, node: Node) -> Neurons:
    bias = graph.array(node, "bias") if "bias" in node.params else np.zeros((), np.float32)
    if node.op == "accumulate":
        return Neurons(READOUT, np.ones(()), np.zeros(()), bias)
    theta, v0 = graph.array(node, "theta"), graph.array(node, "v0")
    levels = node.type.dtype.levels
    fire = graph.array(node, "fire") / theta if levels > 1 else None
    return Neurons(fast.neuron_kind(node), theta, v0, bias, levels, fire)


def _write(graph: Graph, layer: Layer) -> Graph:
    """The graph with a layer's parameters replaced."""
    node, neurons = graph[layer.node.name], layer.neurons
    values = {"bias": neurons.bias}
    if layer.spiking:
        values |= {"theta": neurons.theta, "v0": neurons.v0}
    if neurons.kind not in (READOUT, kernels.UNSIGNED, kernels.WINDOW, kernels.WINDOW_FREE):
        free, core = neurons.kind == kernels.FREE, op_of(node, Neuron).core
        made: Neuron = IntegrateSigned(free=free, core=core)
        if neurons.fire is not None:
            values["fire"] = neurons.theta * neurons.fire
            made = IntegrateGraded(free=free, levels=neurons.levels, core=core)
        else:
            values["theta_neg"] = np.zeros_like(neurons.theta)
        type_ = node.type.with_dtype(spikes(neurons.levels))
        node = replace(node, operation=made, type=type_)
    params = {f"{node.name}.{role}": Param.of(value, F32) for role, value in values.items()}
    changed = {node.name: replace(node, params={role: f"{node.name}.{role}" for role in values})}
    for synapse in layer.synapses:
        own = f"{synapse.node.name}.w"
        params[own] = Param.of(synapse.weights, F32)
        roles = {**synapse.node.params, "w": own}
        changed[synapse.node.name] = replace(synapse.node, params=roles)
    return graph.with_nodes([changed.get(n.name, n) for n in graph.nodes], params)
