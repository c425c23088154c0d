"""First half of quantisation: amplitudes go into real weights, scales are left to be chosen."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spikec.compiler.quantisation.currents import channelwise
from spikec.compiler.quantisation.scales import Chosen, Fixed, Scale, ScaleGroups
from spikec.ir import Graph, Node, PassError, TensorType, op_of, signed, spread, unsigned
from spikec.ir.hardware import HardwareSpec
from spikec.ir.neuron import Membrane
from spikec.ir.op import Synapse
from spikec.ir.ops.accumulate import Accumulate
from spikec.ir.ops.input import Input
from spikec.ir.ops.routing.add import Add
from spikec.ir.ops.synapses.affine import Affine

Array = NDArray[Any]


@dataclass
class Folded:
    """The integer graph without its numbers.

    Attributes:
        graph: The spiking float graph.
        spec: Widths of the target.
        nodes: Nodes of the integer graph, params not yet set.
        weights: Real weights of each synapse, input scales folded in.
        value: Float value to its integer node and scale.
        groups: Which synapses share a scale.
        potential: Scale of each neuron's and readout's potential.
        levelled: Inserted synapses whose weights are integers already.
    """

    graph: Graph
    spec: HardwareSpec
    nodes: list[Node] = field(default_factory=list)
    weights: dict[str, Array] = field(default_factory=dict)
    value: dict[str, tuple[str, Scale]] = field(default_factory=dict)
    groups: ScaleGroups = field(default_factory=ScaleGroups)
    potential: dict[str, Chosen] = field(default_factory=dict)
    levelled: set[str] = field(default_factory=set)

    def visit(self, node: Node) -> None:
        """Add one node; nodes come in topological order."""
        op = op_of(node)
        if isinstance(node.operation, Input):
            type_ = node.type.with_dtype(unsigned(self.spec.input_bits))
            self._add(node, (), type_, Fixed(self.graph.array(node, "scale")))
        elif isinstance(node.operation, Affine):
            self._absorb(node)
        elif op.weighted:
            self._synapse(node)
        elif isinstance(op, Membrane):
            self._membrane(node)
        elif op.stateful:
            self._add(node, (self.value[node.inputs[0]][0],), node.type, Fixed(np.ones(())))
        elif isinstance(node.operation, Add):
            self._join(node)
        elif op.linear:
            self._route(node)
        else:
            raise PassError(f"op {node.op} has no integer form", loc=node.loc)

    def current(self, type_: TensorType) -> TensorType:
        """The type of a current of the same shape."""
        return type_.with_dtype(signed(self.spec.state_bits))

    def _add(self, node: Node, inputs: tuple[str, ...], type_: TensorType, scale: Scale) -> None:
        self.nodes.append(replace(node, inputs=inputs, type=type_, params={}))
        self.value[node.name] = (node.name, scale)

    def _absorb(self, node: Node) -> None:
        """An affine vanishes: its factor joins the scale of its value."""
        name, scale = self.value[node.inputs[0]]
        w, shape = self.graph.array(node, "w").astype(np.float64), node.type.shape
        old = scale.scale if isinstance(scale, Fixed) else scale.factor
        flat = old.ndim <= 1 and w.ndim <= 1
        gain = old * w if flat else spread(old, shape) * spread(w, shape)
        if isinstance(scale, Fixed):
            self.value[node.name] = (name, Fixed(gain))
        elif gain.ndim <= 1 and (gain > 0).all():
            self.value[node.name] = (name, Chosen(scale.synapse, gain))
        else:
            raise PassError("this factor on a synapse's output has no integer form", loc=node.loc)

    def _synapse(self, node: Node) -> None:
        """A synapse takes its input's scale into its weights."""
        name, scale = self.value[node.inputs[0]]
        if isinstance(scale, Chosen):
            raise PassError(
                f"%{node.inputs[0]} is the output of a synapse and enters another",
                loc=node.loc,
                hint="run the pass relay before qcfs",
            )
        if scale.scale.ndim > 1:
            name, scale = self._levelled(node.inputs[0], scale.scale)
        side = np.broadcast_to(scale.scale, self.graph[node.inputs[0]].type.shape[:1])
        w = op_of(node, Synapse).scale_inputs(self.graph.array(node, "w").astype(np.float64), side)
        self.weights[node.name] = w
        largest = op_of(node, Synapse).output_magnitudes(w)
        scale = self.groups.add(node.name, largest)
        self._add(node, (name,), self.current(node.type), scale)

    def _join(self, node: Node) -> None:
        """Currents that meet share a scale."""
        inputs = [self._chosen(name) for name in node.inputs]
        for _, scale in inputs[1:]:
            self.groups.same(inputs[0][1], scale)
        names = tuple(name for name, _ in inputs)
        self._add(node, names, self.current(node.type), inputs[0][1])

    def _membrane(self, node: Node) -> None:
        name, scale = self._chosen(node.inputs[0])
        if isinstance(node.operation, Accumulate):
            self.groups.make_uniform(scale)
        self.potential[node.name] = scale
        type_ = self.current(node.type) if isinstance(node.operation, Accumulate) else node.type
        self._add(node, (name,), type_, Fixed(np.ones(())))

    def _chosen(self, name: str) -> tuple[str, Chosen]:
        """A value as a current: spikes and inputs pass a one-to-one synapse."""
        source, scale = self.value[name]
        if isinstance(scale, Chosen):
            return source, scale
        made = f"{name}.synapse"
        if made not in self.value:
            shape = self.graph[name].type.shape
            w = np.broadcast_to(scale.scale, shape[:1]) if scale.scale.ndim <= 1 else scale.scale
            self.weights[made] = w
            largest = np.abs(w).reshape(len(w), -1).max(axis=1)
            self._insert(made, name, source, self.groups.add(made, largest))
        found = self.value[made]
        assert isinstance(found[1], Chosen)
        return found[0], found[1]

    def _levelled(self, name: str, scale: Array) -> tuple[str, Fixed]:
        """A value whose scale differs by position, brought to one scale by a synapse."""
        made = f"{name}.level"
        unit = np.asarray(np.abs(scale).max() / ((1 << (self.spec.weight_bits - 1)) - 1))
        if made not in self.value:
            self.weights[made] = np.rint(scale / unit)
            self.levelled.add(made)
            self._insert(made, name, self.value[name][0], Fixed(unit))
        return made, Fixed(unit)

    def _insert(self, made: str, name: str, source: str, scale: Scale) -> None:
        node = self.graph[name]
        type_ = self.current(node.type)
        self.nodes.append(Node(made, Affine(), (source,), type_, loc=node.loc))
        self.value[made] = (made, scale)

    def _route(self, node: Node) -> None:
        """Elements move or are summed: their scales go with them."""
        values = [self.value[name] for name in node.inputs]
        if any(isinstance(scale, Chosen) for _, scale in values):
            self._route_currents(node)
            return
        shapes = [self.graph[name].type.shape for name in node.inputs]
        full = [
            np.broadcast_to(spread(s.scale, shape), shape).astype(np.float64)
            for (_, s), shape in zip(values, shapes, strict=True)
            if isinstance(s, Fixed)
        ]
        scale, uniform = self._moved(node, full)
        names = tuple(name for name, _ in values)
        if not uniform:
            pairs = zip(node.inputs, full, strict=True)
            levelled = [self._levelled(name, array) for name, array in pairs]
            names = tuple(name for name, _ in levelled)
            units = zip(levelled, shapes, strict=True)
            full = [np.broadcast_to(s.scale, shape) for (_, s), shape in units]
            scale, _ = self._moved(node, full)
        type_ = node.type if op_of(node).result == "same" else self.current(node.type)
        if op_of(node).result == "same":
            source = next(n for n in self.nodes if n.name == names[0])
            type_ = node.type.with_dtype(source.type.dtype)
        self._add(node, names, type_, Fixed(scale))

    def _moved(self, node: Node, arrays: list[Array]) -> tuple[Array, bool]:
        """The mean of what reaches each element, and whether it was uniform there."""
        op, params = op_of(node), {r: self.graph.array(node, r) for r in node.params}
        count = op.run([np.ones((1, *a.shape)) for a in arrays], params)[0]
        safe = np.where(count == 0, 1, count)
        mean = op.run([a[None] for a in arrays], params)[0] / safe
        square = op.run([a[None] ** 2 for a in arrays], params)[0] / safe
        uniform = np.allclose(square, mean**2, rtol=1e-9, atol=0)
        mean = np.where(count == 0, 1.0, mean)
        flat = channelwise(mean)
        return (flat if flat.ndim else mean), bool(uniform)

    def _route_currents(self, node: Node) -> None:
        inputs = [self._chosen(name) for name in node.inputs]
        scale = inputs[0][1]
        if len(inputs) > 1 or not self._keeps_channels(node):
            for _, other in inputs:
                if other.factor.ndim or scale.factor.ndim:
                    raise PassError("channels with different factors are mixed", loc=node.loc)
                self.groups.make_uniform(other)
                self.groups.same(scale, other)
        names = tuple(name for name, _ in inputs)
        self._add(node, names, self.current(node.type), scale)

    def _keeps_channels(self, node: Node) -> bool:
        """Whether output channel c gathers input channel c alone."""
        shape = self.graph[node.inputs[0]].type.shape
        if node.type.shape[:1] != shape[:1]:
            return False
        index = np.arange(1.0, shape[0] + 1)
        mean, uniform = self._moved(node, [np.broadcast_to(spread(index, shape), shape)])
        return uniform and mean.shape == index.shape and np.array_equal(mean, index)
