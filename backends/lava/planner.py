"""Plans the Lava network of an integer graph.

A synapse process delivers one step late, so each layer works in a window of time steps that
starts as many steps late as there are synapses on the longest path to it; where paths of other
lengths meet it, the shorter ones get a delay. A layer that gathers a whole window of input before
it fires (layerwise schedule) adds that window to the path.
"""

from __future__ import annotations

import dataclasses
import keyword
import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from spikec.backends.lava import calls, intervals
from spikec.backends.lava.calls import Interval
from spikec.backends.lava.linear import LOWERINGS, STATE, SUM, any_linear
from spikec.backends.lava.plan import (
    Fit,
    Plan,
    Process,
    Wire,
    connected,
    drop_unread,
    merge_delays,
)
from spikec.backends.lava.processes import CLASSES, ProcessClass
from spikec.backends.lava.stock import fit
from spikec.ir import BackendError, Graph, Node, op_of, spread
from spikec.ir.neuron import Membrane, Neuron, Sign, total_weight
from spikec.ir.op import Op, Stateful
from spikec.ir.ops.accumulate import Accumulate
from spikec.ir.ops.input import Input
from spikec.ir.ops.max_pool_count import MaxPoolCount
from spikec.ir.types import Array
from spikec.runtime.interpreter import state_type

LONGEST_DELAY = 62
"""Steps that one synapse can wait, on Loihi 2 as in Lava."""
RESERVED = {
    "w",
    "inputs",
    "steps",
    "tag",
    "samples",
    "window",
    "conv",
    "dense",
    "delay",
    "sparse",
    "one_to_one",
    "unrolled_conv",
    "build",
    "layers",
    "StockIntegrate",
}
NEURONS = ("own", "stock")
"""What may stand for an integrate-and-fire layer."""


def plan_network(graph: Graph, steps: int | None = None, neuron: str = "own") -> Plan:
    """Plan the processes of `graph`.

    Args:
        graph: At stage int.
        steps: Time steps per sample; the graph's own by default.
        neuron: `own`, or `stock`: Lava's ATRLIF for the layers that it provably computes exactly.

    Raises:
        BackendError: naming the node that Lava cannot hold.
    """
    if graph.stage != "int":
        raise BackendError(f"only graphs of stage int can be emitted, not {graph.stage}")
    if neuron not in NEURONS:
        raise BackendError(f"no Lava neuron '{neuron}'", hint=f"one of {', '.join(NEURONS)}")
    planner = Planner(graph, steps or graph.steps, neuron)
    for node in graph.nodes:
        planner.lower(node)
    merge_delays(planner.plan)
    drop_unread(planner.plan)
    if not connected(planner.plan):
        raise BackendError("the graph falls into parts that are not connected; Lava runs one")
    return planner.plan


class Planner:
    """Lowers one node after the other.

    Attributes:
        graph: The graph.
        plan: What is planned so far.
        values: For each node the wires that make up its value.
    """

    def __init__(self, graph: Graph, steps: int, neuron: str) -> None:
        self.graph = graph
        self.neuron = neuron
        self.plan = Plan(steps)
        self.values: dict[str, list[Wire]] = {}
        self.delays: dict[tuple[str, int], Wire] = {}
        self.constants: dict[str, Array] = {}

    def lower(self, node: Node) -> None:
        """Plan one node."""
        op = op_of(node)
        if not node.type.shape:
            raise BackendError(f"%{node.name} has no axes; Lava's ports need one", loc=node.loc)
        inputs = [self.values[name] for name in node.inputs]
        if isinstance(op, Input):
            self.values[node.name] = [self.source(node)]
        elif isinstance(op, Stateful) and type(op) in CLASSES:
            self.values[node.name] = self.layer(node, op, inputs[0])
        elif op.linear and not op.stateful:
            self.values[node.name] = LOWERINGS.get(type(op), any_linear)(self, node, inputs)
            self._prove(node)
        else:
            raise BackendError(f"%{node.name} = {node.op} has no Lava process", loc=node.loc)

    def array(self, node: Node, role: str) -> Array:
        """A param's array."""
        return self.graph.array(node, role)

    def weight(self, node: Node, role: str, array: Array) -> str:
        """Store synaptic weights; returns their key."""
        low, high = intervals.of_values(array)
        if low < -128 or high > 127:
            raise BackendError(
                f"%{node.name} = {node.op} has weights from {low} to {high}; a synapse holds "
                "-128 to 127",
                loc=node.loc,
            )
        return self._store(f"{node.name}.{role}", array.astype(np.int8))

    def source(self, node: Node) -> Wire:
        """A graded input."""
        bounds = node.type.dtype.bounds
        if not intervals.within(bounds, STATE):
            raise BackendError(f"input %{node.name} is wider than 24 bits", loc=node.loc)
        self._store_units(node)
        call = calls.InputSource(node.name, node.type.shape, op_of(node, Input).timed)
        name, comment = self._variable(node.name), _comment(node)
        process = self.plan.add(Process(name, call, comment=comment, node=node.name))
        return Wire(process.name, "s_out", node.type.shape, node.type.shape, 0, bounds)

    def constant(self, node: Node, array: Array) -> list[Wire]:
        """A current that flows all the time."""
        full = np.broadcast_to(array, node.type.shape)
        return [self._constant(f"{node.name}.b", node, full, f"constant part of {node.name}")]

    def _constant(self, name: str, node: Node, array: Array, comment: str) -> Wire:
        bounds = intervals.of_values(array)
        if not intervals.within(bounds, STATE):
            raise BackendError(
                f"%{node.name} = {node.op} adds {bounds}; a current has 24 bits", loc=node.loc
            )
        call = calls.ConstantSource(self._store(name, array[None].astype(np.int32)))
        variable = self._variable(name)
        process = self.plan.add(Process(variable, call, comment=comment, node=node.name))
        self.constants[process.name] = array.astype(np.int64)
        return Wire(process.name, "s_out", array.shape, array.shape, None, bounds)

    def bias(self, node: Node) -> list[Wire]:
        """The constant that a weighted op adds, if it has one."""
        if "b" not in node.params:
            return []
        return self.constant(node, spread(self.array(node, "b"), node.type.shape))

    def synapse(self, node: Node, process: Process, bounds: Interval) -> Wire:
        """Add a synapse process for `node`; it delivers one step late."""
        if not intervals.within(bounds, SUM):
            raise BackendError(
                f"%{node.name} = {node.op} can sum up to {bounds}; Lava's sums wrap at 31 bits",
                loc=node.loc,
            )
        name = self._variable(process.name)
        made = replace(process, name=name, comment=_comment(node), node=node.name)
        self.plan.add(made)
        arrivals = [wire.latency for wire in process.wires if wire.latency is not None]
        latency = max(arrivals) + 1
        shape = node.type.shape
        port_shape = shape if made.transposed else (math.prod(shape),)
        return Wire(name, "a_out", port_shape, shape, latency, bounds, made.transposed)

    def layer(self, node: Node, op: Stateful, source: list[Wire]) -> list[Wire]:
        """A layer of neurons, pooling or readout."""
        process_class = CLASSES[type(op)]
        self._refuse_unknown(node, op, process_class)
        wires, in_shape, current = self.join(source, node)
        offset = max(wire.latency or 0 for wire in wires)
        limits = self._limits(node, current)
        call = calls.Layer(
            kind=process_class.name,
            title=node.name,
            shape=node.type.shape,
            in_shape=in_shape if isinstance(op, MaxPoolCount) else None,
            params=tuple((role, self._state(node, role)) for role in _roles(node, op)),
            attributes=tuple(item for item in op.attributes().items() if item[0] != "core"),
            offset=offset,
            limits=None if limits == STATE else limits,
        )
        if self.neuron == "stock":
            call = self._stock(call, node, process_class, wires, current)
        name, comment = self._variable(node.name), _comment(node)
        self.plan.add(Process(name, call, wires, "a_in", in_shape, comment, node=node.name))
        self.plan.layers[node.name] = name
        first = offset + (self.plan.steps if isinstance(op, Neuron) and op.gathers else 0)
        self.plan.depth = max(self.plan.depth, first)
        self.plan.layerwise |= first > offset
        if isinstance(op, Accumulate):
            self._store_units(node)
            return []
        low, high = node.type.dtype.bounds
        unsigned = isinstance(op, Neuron) and op.sign is Sign.UNSIGNED
        interval = (0 if unsigned else low, high)
        return [Wire(name, "s_out", node.type.shape, node.type.shape, first, interval)]

    def _stock(
        self,
        layer: calls.Layer,
        node: Node,
        process_class: ProcessClass,
        wires: tuple[Wire, ...],
        current: Interval,
    ) -> calls.Layer:
        """Lava's own neuron in place of a layer where it is the same."""
        fitting = Fit(f"ATRLIF is not {node.op}")
        if process_class.stock:
            fitting = fit(self.graph, node, wires, current, self.plan.steps)
        self.plan.fits[node.name] = fitting
        if fitting.reason:
            return layer
        fields = {field.name: getattr(layer, field.name) for field in dataclasses.fields(layer)}
        fields |= {"kind": "StockIntegrate", "limits": None}
        return calls.StockLayer(**fields, bias_as_input=fitting.bias_as_input)

    def join(
        self, source: list[Wire], node: Node
    ) -> tuple[tuple[Wire, ...], tuple[int, ...], Interval]:
        """Wires that may enter one InPort together: all in step, none twice.

        Returns:
            The wires, the shape of the value, and the range of its elements.
        """
        if not source:
            raise BackendError(
                f"%{node.name} reads a readout; it may only be returned", loc=node.loc
            )
        repeats = Counter(wire.process for wire in source)
        firsts = {wire.process: wire for wire in source}
        wires = [self._repeated(firsts[name], count, node) for name, count in repeats.items()]
        last = max((wire.latency for wire in wires if wire.latency is not None), default=0)
        wires = [self._delayed(wire, last, node) for wire in wires]
        interval = intervals.total(*(wire.interval for wire in wires))
        if not intervals.within(interval, (-(1 << 31), (1 << 31) - 1)):
            raise BackendError(f"%{node.name}: what meets here can wrap at 32 bits", loc=node.loc)
        return tuple(wires), wires[0].shape, interval

    def _repeated(self, wire: Wire, count: int, node: Node) -> Wire:
        """A wire that is summed with itself; Lava cannot connect two ports twice."""
        if count == 1:
            return wire
        if wire.latency is None:
            total, comment = count * self.constants[wire.process], f"{count} times {wire.process}"
            made = self._constant(f"{node.name}.{wire.process}.times", node, total, comment)
            return replace(made, shape=wire.shape)
        flat = (math.prod(wire.shape),)
        w = self.weight(node, f"{wire.process}.times", np.full(flat, count))
        bounds = intervals.through(np.full((1, 1), count), wire.interval)
        name = f"{wire.process}_times_{count}"
        process = Process(name, calls.OneToOne(name, w), (wire,), "s_in", flat)
        made = self.synapse(node, process, bounds)
        return replace(made, port_shape=flat, shape=wire.shape, transposed=False)

    def _delayed(self, wire: Wire, latency: int, node: Node) -> Wire:
        """The same values, arriving at step `latency`, for `node`."""
        while wire.latency is not None and wire.latency < latency:
            steps = min(latency - wire.latency, LONGEST_DELAY)
            key = (wire.process, steps)
            if key not in self.delays:
                self.delays[key] = self._delay(wire, steps, node)
            wire = replace(self.delays[key], shape=wire.shape)
        return wire

    def _delay(self, wire: Wire, steps: int, node: Node) -> Wire:
        """Add a process that passes a value on, `steps` steps later."""
        name, flat = self._variable(f"{wire.process}_later_{steps}"), (math.prod(wire.shape),)
        call = calls.Delay(name, flat[0], steps)
        comment = f"{wire.process}, in step with a longer path"
        self.plan.add(Process(name, call, (wire,), "s_in", flat, comment, node=node.name))
        latency = (wire.latency or 0) + steps
        return Wire(name, "a_out", flat, wire.shape, latency, wire.interval)

    def _limits(self, node: Node, current: Interval) -> Interval:
        """The range that a layer checks: that of its declared width."""
        source = self.graph[node.inputs[0]].type.dtype.bounds
        if isinstance(node.operation, Membrane):
            dtype = state_type(self.graph, node)
            if not intervals.within(dtype.bounds, STATE):
                raise BackendError(
                    f"%{node.name} needs {dtype}; the state of a neuron has 24 bits", loc=node.loc
                )
            limits = dtype.bounds
            counted = current if intervals.within(current, limits) else source
        else:
            weight = total_weight(self.plan.steps, radix=op_of(node, Stateful).radix)
            limits, counted = STATE, (weight * min(0, source[0]), weight * source[1])
        if not intervals.within(counted, limits):
            raise BackendError(
                f"%{node.name} is narrower than what it counts, up to {counted[1]}", loc=node.loc
            )
        return limits

    def _prove(self, node: Node) -> None:
        """Note a value that could leave its width where no layer's check would see it."""
        bounds = node.type.dtype.bounds
        worst = intervals.total(*(wire.interval for wire in self.values[node.name]))
        readers = self.graph.readers[node.name]
        checked = readers and all(
            isinstance(reader.operation, Membrane)
            and state_type(self.graph, reader).bounds == bounds
            for reader in readers
        )
        if not checked and not intervals.within(worst, bounds):
            self.plan.unproven.append(node.name)

    def _refuse_unknown(self, node: Node, op: Stateful, process_class: ProcessClass) -> None:
        attributes = set(op.attributes()) - process_class.attributes - {"core"}
        unknown = attributes | (set(_roles(node, op)) - process_class.roles)
        if unknown:
            raise BackendError(
                f"%{node.name} = {node.op}: Lava's process does not know {sorted(unknown)}",
                loc=node.loc,
            )
        dtype = self.graph[node.inputs[0]].type.dtype
        if isinstance(op, MaxPoolCount) and not dtype.is_spike:
            raise BackendError(f"%{node.name} pools {dtype}; it needs spikes", loc=node.loc)

    def _state(self, node: Node, role: str) -> str:
        """Store a neuron's param, shaped so that it broadcasts to the layer."""
        array = spread(self.array(node, role), node.type.shape)
        if not intervals.within(intervals.of_values(array), STATE):
            raise BackendError(f"%{node.name}: {role} leaves 24 bits", loc=node.loc)
        return self._store(f"{node.name}.{role}", array.astype(np.int32))

    def _store_units(self, node: Node) -> None:
        """Store what an integer stands for, shaped so that it broadcasts."""
        for role in ("scale", "offset"):
            if role in node.params:
                array = spread(self.array(node, role), node.type.shape)
                self._store(f"{node.name}.{role}", array.astype(np.float64))

    def _store(self, key: str, array: Array) -> str:
        self.plan.weights[key] = np.ascontiguousarray(array)
        return key

    def _variable(self, name: str) -> str:
        """A Python variable for a process, not used yet."""
        variable = name.replace(".", "_")
        classes = (process_class.name for process_class in CLASSES.values())
        taken = {*self.plan.processes, *RESERVED, *classes, "Source"}
        while variable in taken or keyword.iskeyword(variable):
            variable += "_"
        return variable


def _roles(node: Node, op: Op) -> Sequence[str]:
    return [role for role in node.params if not op.params[role].is_unit]


def _comment(node: Node) -> str:
    source = f" ({node.loc})" if node.loc else ""
    return f"{node.name}: {node.op}, {node.type}{source}"
