"""QCFS threshold calibration: activations become integrate-and-fire neurons."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from spikec.compiler.calibration.thresholds import (
    best_thresholds,
    keeps_threshold,
    percentile_thresholds,
)
from spikec.compiler.pipeline import Context, Pass, Record, within
from spikec.ir import SPIKE, Graph, GraphBuilder, Node, PassError, TensorType, op_of
from spikec.ir.activation import Activation
from spikec.ir.analysis.currents import channelwise, constant_currents
from spikec.ir.neuron import Needs, Sign
from spikec.ir.ops.accumulate import Accumulate
from spikec.ir.ops.activations.clip import Clip
from spikec.ir.ops.activations.qcfs import Qcfs as QcfsOp
from spikec.ir.ops.input import Input
from spikec.ir.ops.max_pool import MaxPool
from spikec.ir.ops.max_pool_count import MaxPoolCount
from spikec.ir.ops.neurons import neuron_for
from spikec.ir.ops.synapses.affine import Affine
from spikec.ir.types import Array


@dataclass(frozen=True)
class Qcfs(Pass):
    """Replace each activation by neurons whose threshold loses least under QCFS with L = T.

    A layer that was trained with QCFS keeps its lambda as threshold. Neurons fire unit spikes; an
    affine after them carries their amplitude theta. All biases move into the neurons. Each output
    is read by an accumulator.

    Options: levels, L of the thresholds where it is not T (binary digits and payloads have more
    levels than steps); per=channel|layer; v0=half (theta / 2, the QCFS optimum) or zero; percentile
    above 0 takes that percentile of the activations as threshold instead (the common baseline).
    """

    levels: int = 0
    per: Literal["channel", "layer"] = "channel"
    v0: Literal["half", "zero"] = "half"
    percentile: float = 0.0

    def check(self) -> None:
        within("percentile", self.percentile, 0, 100)
        within("levels", self.levels, 0)

    def run(self, graph: Graph, context: Context, record: Record) -> Graph:
        spiking = _Spiking(graph, context.steps)
        context.levels = self.levels or context.steps
        for node in graph.nodes:
            op = op_of(node)
            if isinstance(op, Activation):
                theta = self._theta(graph, node, context.levels_of(node.name))
                shift = op.shift if isinstance(op, QcfsOp) else 0.5
                start = shift if self.v0 == "half" else 0.0
                spiking.neuron(node, theta, theta * start)
                record.layer(node.name, theta=float(theta.mean()))
            elif isinstance(op, MaxPool):
                spiking.pool(node, op)
            elif op.linear or isinstance(op, Input):
                spiking.linear(node)
            else:
                raise PassError(f"op {node.op} has no spiking form", loc=node.loc)
        for name in graph.outputs:
            spiking.readout(graph[name])
        record.note(f"{len(record.layers)} activations became neurons, T = {context.steps}")
        context.counterparts = spiking.counterparts
        return spiking.finish()

    def _theta(self, graph: Graph, node: Node, levels: int) -> Array:
        op = node.operation
        if keeps_threshold(node, levels):
            return np.broadcast_to(graph.array(node, "lambda"), _channels(graph, node)).copy()
        if "hist" not in node.params:
            raise PassError(
                f"%{node.name} has no statistics", loc=node.loc, hint="run observe before qcfs"
            )
        low, high, hist = (graph.array(node, role) for role in ("low", "high", "hist"))
        if self.percentile:
            theta = percentile_thresholds(low, high, hist, self.percentile)
            theta = np.full_like(theta, theta.max()) if self.per == "layer" else theta
        else:
            theta = best_thresholds(low, high, hist, levels, self.per == "layer")
        if isinstance(op, QcfsOp) and graph.array(node, "lambda").ndim <= 1:
            return np.minimum(theta, graph.array(node, "lambda"))
        return np.minimum(theta, op.hi) if isinstance(op, Clip) else theta


def _channels(graph: Graph, node: Node) -> tuple[int, ...]:
    shape = graph.array(node, "lambda").shape
    return node.type.shape if len(shape) > 1 else node.type.shape[:1]


class _Spiking:
    """Builds the spiking graph; ann values are found again under their old names."""

    def __init__(self, source: Graph, steps: int) -> None:
        self.source = source
        self.steps = steps
        self.constant = constant_currents(source)
        self.made = GraphBuilder(source, nodes=())
        self.made.outputs = []
        self.values: dict[str, str] = {}
        """Ann value to the node that carries it as a real number."""
        self.spikes: dict[str, tuple[str, str]] = {}
        """Ann value to its spiking node and the name of its amplitude param."""
        self.counterparts: dict[str, str] = {}
        """Layer to the ann value that it stands for."""

    def neuron(self, node: Node, theta: Array, v0: Array) -> None:
        bias = channelwise(self.constant[node.inputs[0]])
        params = {"theta": theta, "v0": v0, "bias": bias}
        signed = op_of(node, Activation).signed
        neuron = neuron_for(Needs(Sign.FREE if signed else Sign.UNSIGNED))
        params |= {role: theta * share for role, share in neuron.shares().items()}
        made = Node(
            name=node.name,
            operation=neuron,
            inputs=(self.value(node.inputs[0]),),
            type=TensorType(SPIKE, node.type.shape),
            loc=node.loc,
        )
        made = self.made.append(self.made.declare(made, params))
        self.counterparts[made.name] = node.name
        self.spikes[node.name] = (made.name, made.params["theta"])

    def pool(self, node: Node, op: MaxPool) -> None:
        source, amplitude = self.spikes.get(node.inputs[0], ("", ""))
        if not source:
            raise PassError(
                f"max pooling %{node.name} does not read spikes",
                loc=node.loc,
                hint="run relay before qcfs",
            )
        type_ = TensorType(SPIKE, node.type.shape)
        counting = MaxPoolCount(op.kernel, op.strides, op.pads, op.dilations)
        made = replace(node, operation=counting, inputs=(source,), type=type_)
        made = self.made.append(made)
        self.spikes[node.name] = (made.name, amplitude)

    def linear(self, node: Node) -> None:
        inputs = tuple(self.value(name) for name in node.inputs)
        params = {role: name for role, name in node.params.items() if role != "b"}
        self.values[node.name] = self.made.append(replace(node, inputs=inputs, params=params)).name

    def readout(self, node: Node) -> None:
        constant = self.constant[node.name]
        inputs = (self.value(node.name),)
        made = Node(f"{node.name}.out", Accumulate(), inputs, node.type, loc=node.loc)
        if constant.any():
            made = self.made.declare(made, {"bias": channelwise(constant)})
        self.counterparts[made.name] = node.name
        self.made.outputs.append(self.made.append(made).name)

    def value(self, name: str) -> str:
        """The real value behind an ann value: spikes come with their amplitude."""
        if name not in self.values:
            spiking, amplitude = self.spikes[name]
            type_ = self.source[name].type
            made = Node(f"{name}.amp", Affine(), (spiking,), type_, params={"w": amplitude})
            self.values[name] = self.made.append(made).name
        return self.values[name]

    def finish(self) -> Graph:
        return self.made.finish(stage="snn", steps=self.steps)
