"""Calibration layer by layer on the spikes that the converted earlier layers really emit."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spikec.compiler.pipeline import Context, Pass, Record
from spikec.ir import F32, Graph, Node, Param, PassError, op_of, spread
from spikec.ir.op import steps_of
from spikec.runtime import fast, kernels
from spikec.runtime.interpreter import evaluate, last_use

Array = NDArray[Any]


@dataclass(frozen=True, slots=True)
class Neurons:
    """The parameters of one layer's neurons, per channel, per tensor or per neuron.

    Attributes:
        kind: UNSIGNED, SIGNED or FREE.
        theta: Firing thresholds.
        v0: Initial potentials.
        bias: Current added in every step.
    """

    kind: int
    theta: Array
    v0: Array
    bias: Array


@dataclass(frozen=True, slots=True)
class Layer:
    """What a layer meets on the calibration data.

    Attributes:
        node: The neuron node.
        current: Its input without bias (steps or 1, samples, *shape), from real spikes.
        before: The ANN's activation input (samples, *shape).
        target: The ANN's activation (samples, *shape).
        steps: T.
        bounded: Whether thresholds must not rise (a clipped activation).
        rng: For every random choice.
    """

    node: Node
    current: Array
    before: Array
    target: Array
    steps: int
    bounded: bool
    rng: np.random.Generator

    def spikes(self, neurons: Neurons) -> Array:
        """The spikes that the layer would emit (steps, samples, *shape)."""
        params = {"theta": neurons.theta, "v0": neurons.v0, "bias": neurons.bias}
        return fast.scan(self.current, params, neurons.kind, self.steps, keep=False)[0]

    def error(self, neurons: Neurons) -> float:
        """Relative squared error of the rates: `sum((rate - target)^2) / sum(target^2)`."""
        rate = self.spikes(neurons).sum(axis=0, dtype=np.float32) / self.steps
        off = rate * spread(neurons.theta, self.node.type.shape) - self.target
        return float((off**2).sum() / max(float((self.target**2).sum()), 1e-30))

    def part(self, samples: slice) -> Layer:
        """The layer on some of the samples."""
        return replace(
            self,
            current=self.current[:, samples],
            before=self.before[samples],
            target=self.target[samples],
        )


@dataclass(frozen=True)
class LayerPass(Pass):
    """A pass that works on one layer at a time.

    Neighbouring layer passes share one sweep: at each layer they act in order, then the layer's
    spikes travel on, so each layer also absorbs what remains wrong in those before it.
    """

    stages = ("snn",)

    def fit(self, layer: Layer, neurons: Neurons, record: Record) -> Neurons:
        """New parameters for one layer."""
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
    ann = context.last["ann"].by_name
    reference = _reference(context.last["ann"], graph, calib)
    values: dict[str, Array] = {}
    last = last_use(graph)
    total = sum(op_of(node).neuron for node in graph.nodes)
    done = 0
    rng = np.random.default_rng(context.seed)
    for index, node in enumerate(graph.nodes):
        if node.op == "input":
            values[node.name] = np.asarray(calib[node.name], np.float32)[None]
        elif op_of(node).neuron:
            before, target = next(reference)
            layer = Layer(
                node=node,
                current=values[node.inputs[0]],
                before=before,
                target=target,
                steps=context.steps,
                bounded=ann[node.name].op == "clip",
                rng=rng,
            )
            neurons = _fit(passes, layer, _read(graph, node), records)
            values[node.name] = layer.spikes(neurons)
            graph = _write(graph, index, neurons)
            done += 1
            context.progress("calibrate", done, total)
        elif node.op != "accumulate":
            values[node.name] = _propagate(graph, node, values, context.steps)
        for name in last.get(node.name, ()):
            values.pop(name, None)
    return graph


def _reference(ann: Graph, snn: Graph, calib: Any) -> Iterator[tuple[Array, Array]]:
    """Each activation's input and value in the ANN, in the order of the spiking graph's neurons."""
    order = [node.name for node in snn.nodes if op_of(node).neuron]
    inputs = {ann[name].inputs[0] for name in order}
    held: dict[str, Array] = {}
    wanted = iter(order)
    expected = next(wanted, None)
    for node, value in evaluate(ann, calib):
        if node.name in inputs:
            held[node.name] = value
        if node.name == expected:
            yield held[node.inputs[0]], value
            expected = next(wanted, None)


def _fit(
    passes: Sequence[LayerPass], layer: Layer, neurons: Neurons, records: Sequence[Record]
) -> Neurons:
    error = layer.error(neurons)
    for each, record in zip(passes, records, strict=True):
        start = time.perf_counter()
        neurons = each.fit(layer, neurons, record)
        after = layer.error(neurons)
        record.layer(layer.node.name, error_before=error, error_after=after)
        record.seconds += time.perf_counter() - start
        error = after
    return neurons


def _read(graph: Graph, node: Node) -> Neurons:
    bias = graph.array(node, "bias") if "bias" in node.params else np.zeros((), np.float32)
    theta, v0 = graph.array(node, "theta"), graph.array(node, "v0")
    return Neurons(fast.neuron_kind(node), theta, v0, bias)


def _write(graph: Graph, index: int, neurons: Neurons) -> Graph:
    """The graph with a layer's parameters replaced."""
    node = graph.nodes[index]
    values = {"theta": neurons.theta, "v0": neurons.v0, "bias": neurons.bias}
    if neurons.kind != kernels.UNSIGNED:
        values["theta_neg"] = np.zeros_like(neurons.theta)
    params = {f"{node.name}.{role}": Param.of(value, F32) for role, value in values.items()}
    changed = replace(
        node,
        op="integrate" if neurons.kind == kernels.UNSIGNED else "integrate_signed",
        attrs={
            **{k: v for k, v in node.attrs.items() if k != "free"},
            **({} if neurons.kind == kernels.UNSIGNED else {"free": neurons.kind == kernels.FREE}),
        },
        params={role: f"{node.name}.{role}" for role in values},
    )
    nodes = [*graph.nodes[:index], changed, *graph.nodes[index + 1 :]]
    return graph.with_nodes(nodes, params)


def _propagate(graph: Graph, node: Node, values: dict[str, Array], steps: int) -> Array:
    inputs = [values[name] for name in node.inputs]
    if op_of(node).stateful:
        return op_of(node).scan(inputs, node.attrs, {}, steps)[0]
    length = max(len(value) for value in inputs)
    flat = [
        steps_of(x, length).reshape(-1, *x.shape[2:]).astype(np.float32, copy=False) for x in inputs
    ]
    value = op_of(node).run(flat, node.attrs, graph.arrays(node))
    return value.reshape(length, -1, *value.shape[1:])
