"""First half of quantisation: amplitudes go into real weights, scales are left to be chosen."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import numpy as np

from spikec.compiler.quantisation.scales import Current, Fixed, Scale, Scales
from spikec.ir import Graph, Node, PassError, TensorType, op_of, signed, spread, unsigned
from spikec.ir.analysis.currents import channelwise
from spikec.ir.hardware import HardwareSpec
from spikec.ir.neuron import Membrane, Neuron
from spikec.ir.op import Synapse
from spikec.ir.ops.accumulate import Accumulate
from spikec.ir.ops.input import Input
from spikec.ir.ops.routing.add import Add
from spikec.ir.ops.synapses.affine import Affine
from spikec.ir.types import Array

ANY = np.nan
"""The scale of what a pad puts in: 0 in every scale."""


@dataclass
class Folded:
    """The integer graph without its numbers.

    Attributes:
        graph: The spiking float graph.
        spec: Widths of the target.
        bits: Of signed weights.
        own_bits: Of single synapses, by name; those that came from one synapse share its bits.
        exact: Layers that compute the quantiser that they were trained with.
        nodes: Nodes of the integer graph, params not yet set.
        weights: Real weights of each synapse, input scales folded in.
        value: Float value to its integer node and scale.
        scales: The scales that are still to be chosen.
        synapse: For each synapse, the variables of its output channels.
        potential: Scale of each neuron's and readout's potential.
        levelled: Inserted synapses whose weights are integers already.
    """

    graph: Graph
    spec: HardwareSpec
    bits: int
    own_bits: Mapping[str, int]
    exact: frozenset[str] = frozenset()
    nodes: list[Node] = field(default_factory=list)
    weights: dict[str, Array] = field(default_factory=dict)
    value: dict[str, tuple[str, Scale]] = field(default_factory=dict)
    scales: Scales = field(default_factory=Scales)
    synapse: dict[str, Array] = field(default_factory=dict)
    potential: dict[str, Current] = field(default_factory=dict)
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

    def bits_of(self, synapse: str) -> int:
        """Bits of a synapse's weights."""
        parts = synapse.split(".")
        names = (".".join(parts[:count]) for count in range(len(parts), 0, -1))
        return next((self.own_bits[name] for name in names if name in self.own_bits), self.bits)

    def _variables(self, synapse: str, rows: Array, source: str) -> Current:
        """New scale variables for a synapse with these weights (output channels, weights)."""
        levels = signed(self.bits_of(synapse)).bounds[1]
        current = self.scales.add(rows, levels, self.largest_input(source))
        self.synapse[synapse] = current.variable
        return current

    def largest_input(self, source: str) -> int:
        """The largest absolute integer that a value of the integer graph holds."""
        low, high = self._made(source).type.dtype.bounds
        return max(high, -low, 1)

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
        old = scale.scale if isinstance(scale, Fixed) else scale.gain
        flat = old.ndim <= 1 and w.ndim <= 1
        gain = old * w if flat else spread(old, shape) * spread(w, shape)
        if isinstance(scale, Fixed):
            self.value[node.name] = (name, Fixed(gain))
        elif (gain > 0).all():
            self.value[node.name] = (name, Current(scale.variable, gain))
        else:
            raise PassError(
                "a factor that is not above 0 on a synapse's output has no integer form",
                loc=node.loc,
                hint="run the pass relay before qcfs",
            )

    def _synapse(self, node: Node) -> None:
        """A synapse takes its input's scale into its weights."""
        name, scale = self.value[node.inputs[0]]
        if isinstance(scale, Current):
            raise PassError(
                f"%{node.inputs[0]} is the output of a synapse and enters another",
                loc=node.loc,
                hint="run the pass relay before qcfs",
            )
        factor = _settled(scale.scale)
        if factor.ndim > 1:
            name, scale = self._levelled(node.inputs[0], factor)
            factor = scale.scale
        side = np.broadcast_to(factor, self.graph[node.inputs[0]].type.shape[:1])
        op = op_of(node, Synapse)
        w = op.scale_inputs(self.graph.array(node, "w").astype(np.float64), side)
        self.weights[node.name] = w
        current = self._variables(node.name, op.by_output(w), name)
        self._add(node, (name,), self.current(node.type), current)

    def _made(self, name: str) -> Node:
        return next(node for node in reversed(self.nodes) if node.name == name)

    def _join(self, node: Node) -> None:
        """Currents that meet share a scale; what comes from spikes or inputs adapts to the rest."""
        fixed = {name for name in node.inputs if isinstance(self.value[name][1], Fixed)}
        made: dict[str, str] = {}
        joined: Current | None = None
        for name in sorted(dict.fromkeys(node.inputs), key=fixed.__contains__):
            made[name], scale = self._as_current(name)
            if joined is not None and name in fixed and not self._same(joined, scale, node):
                made[name], scale = self._as_current(name, apart=True)
            if joined is not None and not self._same(joined, scale, node):
                raise PassError(
                    "currents that meet here stand in another ratio elsewhere", loc=node.loc
                )
            joined = scale if joined is None else _both(joined, scale, node.type.shape)
        assert joined is not None
        names = tuple(made[name] for name in node.inputs)
        self._add(node, names, self.current(node.type), joined)

    def _same(self, left: Current, right: Current, node: Node) -> bool:
        """Make two currents of a node's shape stand for real values in one scale, if they can."""
        a, gain_a, b, gain_b = _aligned(left, right, node.type.shape)
        if not self.scales.agree(a, b, gain_a / gain_b):
            return False
        self.scales.unify(a, b, gain_a / gain_b)
        return True

    def _membrane(self, node: Node) -> None:
        name, scale = self._as_current(node.inputs[0])
        if isinstance(node.operation, Accumulate):
            self._share(scale, node.type.shape)
            neurons = {n.name for n in self.graph if isinstance(n.operation, Neuron)}
            self.scales.resolve(scale, exact=bool(neurons) and neurons <= self.exact)
        self.potential[node.name] = scale
        type_ = self.current(node.type) if isinstance(node.operation, Accumulate) else node.type
        self._add(node, (name,), type_, Fixed(np.ones(())))

    def _make_uniform(self, value: Current, shape: tuple[int, ...], node: Node) -> None:
        """Let all elements of a current stand for real values in one scale."""
        if not self._share(value, shape):
            raise PassError("elements that need one scale here differ elsewhere", loc=node.loc)

    def _share(self, value: Current, shape: tuple[int, ...]) -> bool:
        """Let all elements of a current share a scale, if none of them conflict."""
        variable, gain = (part.ravel() for part in value.spread(shape))
        used = variable >= 0
        if not used.any():
            return True
        first = int(np.argmax(used))
        one = np.full_like(variable, variable[first])
        if not self.scales.agree(one, variable, gain[first] / gain):
            return False
        self.scales.unify(one, variable, gain[first] / gain)
        return True

    def _as_current(self, name: str, *, apart: bool = False) -> tuple[str, Current]:
        """A value as a current: spikes and inputs pass a one-to-one synapse.

        Args:
            name: The value.
            apart: Let each of its elements have a scale of its own, not each channel.
        """
        source, scale = self.value[name]
        if isinstance(scale, Current):
            return source, scale
        made = f"{name}.apart" if apart else f"{name}.synapse"
        if made not in self.value:
            shape, factor = self.graph[name].type.shape, _settled(scale.scale)
            w = np.broadcast_to(spread(factor, shape), shape)
            if not apart and factor.ndim <= 1:
                w = np.broadcast_to(factor, shape[:1])
            self.weights[made] = w
            rows = w.reshape(-1, 1) if apart else w.reshape(len(w), -1)
            current = self._variables(made, rows, source)
            if apart:
                self.synapse[made] = current.variable.reshape(shape)
                current = replace(current, variable=self.synapse[made])
            self._insert(made, name, source, current)
        inserted, scale = self.value[made]
        assert isinstance(scale, Current)
        return inserted, scale

    def _levelled(self, name: str, scale: Array) -> tuple[str, Fixed]:
        """A value whose scale differs by position, brought to one scale by a synapse."""
        made = f"{name}.level"
        unit = np.asarray(np.abs(scale).max() / ((1 << (self.spec.weight_bits - 1)) - 1))
        if made not in self.value:
            self.weights[made] = scale / unit
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
        kinds = {self._made(name).type.dtype for name, _ in values}
        mixed = op_of(node).result == "same" and len(kinds) > 1
        if mixed or any(isinstance(scale, Current) for _, scale in values):
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
            levelled = [self._levelled(name, _settled(array)) for name, array in pairs]
            names = tuple(name for name, _ in levelled)
            units = zip(levelled, shapes, strict=True)
            full = [np.broadcast_to(s.scale, shape) for (_, s), shape in units]
            scale, _ = self._moved(node, full)
        type_ = node.type if op_of(node).result == "same" else self.current(node.type)
        if op_of(node).result == "same":
            type_ = node.type.with_dtype(self._made(names[0]).type.dtype)
        self._add(node, names, type_, Fixed(scale))

    def _moved(self, node: Node, arrays: list[Array]) -> tuple[Array, bool]:
        """The mean of what reaches each element, and whether it was uniform there."""
        op, params = op_of(node), {r: self.graph.array(node, r) for r in node.params}
        known = [np.isfinite(a) for a in arrays]
        filled = [np.where(k, a, 0.0) for k, a in zip(known, arrays, strict=True)]
        count = op.run([k[None].astype(np.float64) for k in known], params)[0]
        safe = np.where(count == 0, 1, count)
        mean = op.run([a[None] for a in filled], params)[0] / safe
        square = op.run([a[None] ** 2 for a in filled], params)[0] / safe
        uniform = np.allclose(square, mean**2, rtol=1e-9, atol=0)
        mean = np.where(count == 0, ANY, mean)
        flat = channelwise(mean)
        return (flat if flat.ndim else mean), bool(uniform)

    def _route_currents(self, node: Node) -> None:
        """Currents move with their variables; where several are summed, they share one."""
        inputs = [self._as_current(name) for name in node.inputs]
        op = op_of(node)
        if op.result == "same":
            moved = self._carried(node, [scale for _, scale in inputs])
        else:
            (_, scale), *_ = inputs
            if not self._keeps_channels(node) or scale.variable.ndim > 1 or scale.gain.ndim > 1:
                shape = self.graph[node.inputs[0]].type.shape
                self._make_uniform(scale, shape, node)
                variable, gain = scale.spread(shape)
                first = int(np.argmax(variable.ravel() >= 0))
                one = variable.ravel()[first], gain.ravel()[first]
                moved = Current(np.full(node.type.shape[:1], one[0]), np.asarray(one[1]))
            else:
                moved = scale
        names = tuple(name for name, _ in inputs)
        self._add(node, names, self.current(node.type), moved)

    def _carried(self, node: Node, scales: list[Current]) -> Current:
        """The variables and gains of elements that a node moves."""
        op = op_of(node)
        shapes = [self.graph[name].type.shape for name in node.inputs]

        def carry(arrays: list[Array]) -> Array:
            full = [
                np.broadcast_to(spread(a, shape), shape)[None]
                for a, shape in zip(arrays, shapes, strict=True)
            ]
            return channelwise(op.run(full, {})[0])

        # Counted from 1, so that a zero that a pad puts in is NOTHING.
        variable = carry([scale.variable + 1 for scale in scales]) - 1
        gain = carry([scale.gain for scale in scales])
        return Current(variable.astype(np.int64), np.where(gain > 0, gain, 1.0))

    def _keeps_channels(self, node: Node) -> bool:
        """Whether output channel c gathers input channel c alone."""
        shape = self.graph[node.inputs[0]].type.shape
        if node.type.shape[:1] != shape[:1]:
            return False
        index = np.arange(1.0, shape[0] + 1)
        mean, uniform = self._moved(node, [np.broadcast_to(spread(index, shape), shape)])
        mean = _settled(mean)
        return uniform and mean.shape == index.shape and np.array_equal(mean, index)


def _settled(scale: Array) -> Array:
    """A known scale without `ANY`: where it may be anything, it is that of its channel, or 0.

    Returns:
        (), (channels,) or, where a channel's elements differ, per element.
    """
    if np.isfinite(scale).all():
        return scale
    rows = scale.reshape(len(scale), -1)
    low, high = (
        worst(np.where(np.isfinite(rows), rows, start), axis=1)
        for worst, start in ((np.min, np.inf), (np.max, -np.inf))
    )
    if (low >= high).all():  # also where a channel has none
        return np.where(np.isfinite(high), high, 0.0)
    return np.where(np.isfinite(scale), scale, 0.0)


def _aligned(left: Current, right: Current, shape: tuple[int, ...]) -> list[Array]:
    """Variables and gains of two currents as arrays of one shape."""
    parts = [left.variable, left.gain, right.variable, right.gain]
    if not all(part.ndim <= 1 for part in parts):
        parts = [np.broadcast_to(spread(part, shape), shape) for part in parts]
    return list(np.broadcast_arrays(*parts))


def _both(left: Current, right: Current, shape: tuple[int, ...]) -> Current:
    """The sum of two currents that stand for real values in one scale."""
    a, gain_a, b, gain_b = _aligned(left, right, shape)
    here = a >= 0
    return Current(np.where(here, a, b), np.where(here, gain_a, gain_b))
