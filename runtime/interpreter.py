"""The reference interpreter: runs a graph of any stage by its ops' NumPy meaning.

Slow and obviously correct. Integers are int64 and every current and potential is checked against
its declared width. A spiking graph is feed-forward, so each layer computes all its time steps
before the next layer starts; step for step this equals running the layers in lock step.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, MutableMapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from spikec.ir import Graph, InvalidData, Node, RangeError, UsageError, op_of
from spikec.ir.analysis import last_reads, run_linear
from spikec.ir.exact import LARGEST, machine, magnitude, unbounded, wide
from spikec.ir.neuron import Neuron, total_weight
from spikec.ir.op import Stateful, Value, steps_of
from spikec.ir.ops.input import Input
from spikec.ir.types import Array, DType
from spikec.ir.verify import most_steps

Feeds = Mapping[str, Value]


@dataclass(frozen=True, slots=True)
class LayerTrace:
    """What one layer did: spikes and potentials after reset, both (steps, batch, *shape)."""

    spikes: Array | None
    potentials: Array


Counts = MutableMapping[str, NDArray[np.int64]]
"""Numbers of samples by layer, per step and element (steps, *shape)."""


@dataclass(frozen=True, slots=True)
class Simulation:
    """The result of running a spiking graph.

    Attributes:
        readout: For each output, the accumulated potential of every step (steps, batch, *shape).
        events: For each value that enters a synapse, how many samples had a non-zero element
            there, per step and element (steps, *shape); spiking layers are always included.
        traces: Spikes and potentials of the layers that were asked for.
        units: As `events`, but only events with a payload of 1 or -1; of graded spikes alone.
    """

    readout: dict[str, Array] = field(default_factory=dict)
    events: Counts = field(default_factory=dict)
    traces: dict[str, LayerTrace] = field(default_factory=dict)
    units: Counts = field(default_factory=dict)


def check_feeds(graph: Graph, feeds: Feeds, steps: int = 1) -> int:
    """The batch size of `feeds`.

    Args:
        graph: Whose inputs they are.
        feeds: Input node name to array (batch, *shape); of frames (batch, frames, *shape).
        steps: Time steps that run, each of which takes a frame.

    Raises:
        InvalidData: for missing or misshaped inputs, too few frames, or codes that are no integers.
        InvalidGraph: when a param has no values.
    """
    sizes = set()
    for node in graph.nodes:
        if not isinstance(node.operation, Input):
            graph.arrays(node)
    for node in graph.inputs:
        if node.name not in feeds:
            raise InvalidData(f"no data for input '{node.loc or node.name}'")
        x = feeds[node.name]
        _check_shape(node, x, steps)
        if graph.stage == "int" and not _holds_integers(x):
            raise InvalidData(
                f"input '{node.loc or node.name}' holds numbers that are no codes: integers"
            )
        sizes.add(len(x))
    if len(sizes) != 1 or 0 in sizes:
        raise InvalidData("all inputs need the same number of samples, at least one")
    return int(sizes.pop())


def _check_shape(node: Node, x: Value, steps: int) -> None:
    name, timed = node.loc or node.name, op_of(node, Input).timed
    if x.ndim < 1 + timed or x.shape[1 + timed :] != node.type.shape:
        expected = str(list(node.type.shape))
        expected = f"frames of {expected}" if timed else expected
        raise InvalidData(
            f"input '{name}' has shape {list(x.shape[1:])} per sample, the model expects {expected}"
        )
    if timed and x.shape[1] < steps:
        raise InvalidData(
            f"input '{name}' has {x.shape[1]} frames per sample; {steps} time steps take one each",
            hint=f"give {steps} frames, or run (or compile for) --timesteps {x.shape[1]}",
        )


def run_length(graph: Graph, steps: int | None) -> int:
    """The time steps to run: the graph's own by default.

    Raises:
        UsageError: for a number that the graph cannot run.
    """
    most = most_steps(graph.nodes)
    if steps is not None and not 1 <= steps <= most:
        raise UsageError(f"{steps} time steps; the graph runs for 1 to {most}")
    return steps or graph.steps


def _holds_integers(x: Value) -> bool:
    if x.dtype.kind == "f":
        return bool((np.isfinite(x) & (x == np.rint(x)) & (abs(x) < 1 << 63)).all())
    return x.dtype.kind in "iub"


def forward(graph: Graph, feeds: Feeds, keep: Collection[str] = ()) -> dict[str, Value]:
    """Run a graph of stage ann.

    Args:
        graph: The graph.
        feeds: As `check_feeds` has them.
        keep: Nodes whose values to return besides the outputs.

    Returns:
        Node name to value (batch, *shape).
    """
    check_feeds(graph, feeds)
    wanted = {*keep, *graph.outputs}
    values: dict[str, Value] = {}
    for node, value in evaluate(graph, feeds):
        if node.name in wanted:
            values[node.name] = value
    return values


def evaluate(graph: Graph, feeds: Feeds) -> Iterator[tuple[Node, Value]]:
    """Yield each node of an ann graph with its value, dropping values no longer needed."""
    last = last_use(graph)
    values: dict[str, Value] = {}
    for node in graph.nodes:
        if isinstance(node.operation, Input):
            values[node.name] = without_time(node, feeds).astype(np.float32, copy=False)
        else:
            inputs = [values[name] for name in node.inputs]
            values[node.name] = op_of(node).run(inputs, graph.arrays(node))
        yield node, values[node.name]
        for name in last.get(node.name, ()):
            del values[name]


def last_use(graph: Graph) -> Mapping[str, list[str]]:
    """For each node, the values that nothing after it reads."""
    return last_reads((node.name, node.inputs) for node in graph.nodes)


def synapse_inputs(graph: Graph) -> set[str]:
    """Names of all values that enter a weighted op, and of all spiking layers."""
    weighted = (node for node in graph.nodes if op_of(node).weighted)
    spiking = {node.name for node in graph.nodes if node.type.dtype.is_spike}
    return spiking | {name for node in weighted for name in node.inputs}


class Observer:
    """Keeps what a simulation is asked for, node by node; every engine that has values uses it."""

    def __init__(self, graph: Graph, steps: int, trace: Collection[str] = ()) -> None:
        self.result = Simulation()
        self.counted = synapse_inputs(graph)
        self._outputs, self._steps, self._trace = graph.outputs, steps, trace

    def see(self, node: Node, value: Value, potentials: Value | None = None) -> None:
        """Look at a node's value (steps or 1, batch, *shape), and a layer's potentials."""
        name, dtype, result = node.name, node.type.dtype, self.result
        if name in self.counted:
            result.events[name] = steps_of(np.count_nonzero(value, axis=1), self._steps)
            if dtype.is_graded:
                result.units[name] = unit_events(value)
        if name in self._outputs:
            result.readout[name] = value
        if name in self._trace and potentials is not None:
            spikes = value.astype(dtype.storage, copy=False) if dtype.is_spike else None
            result.traces[name] = LayerTrace(spikes, potentials)


def simulate(
    graph: Graph, feeds: Feeds, steps: int | None = None, trace: Collection[str] = ()
) -> Simulation:
    """Run a spiking graph (stage snn or int) for some steps.

    Args:
        graph: The graph.
        feeds: As `check_feeds` has them, at stage int already encoded integers.
        steps: Time steps; the graph's own by default.
        trace: Layers whose spikes and potentials to return.

    Raises:
        InvalidData: when the feeds do not fit.
        RangeError: at stage int, when a value leaves its declared width.
    """
    steps = run_length(graph, steps)
    check_feeds(graph, feeds, steps)
    observer, last = Observer(graph, steps, trace), last_use(graph)
    values: dict[str, Value] = {}
    for node in graph.nodes:
        inputs = [values[name] for name in node.inputs]
        value, potentials = run_node(graph, node, inputs, feeds, steps)
        values[node.name] = value
        observer.see(node, value, potentials)
        for name in last.get(node.name, ()):
            del values[name]
    return observer.result


def run_node(
    graph: Graph, node: Node, inputs: list[Value], feeds: Feeds, steps: int
) -> tuple[Value, Value | None]:
    """The value of a node (steps or 1, batch, *shape), and a stateful one's potentials.

    Args:
        graph: Of stage snn or int.
        node: One of its nodes.
        inputs: Values of the nodes that it reads.
        feeds: As for `simulate`.
        steps: Time steps.

    Raises:
        RangeError: at stage int, when a value leaves its declared width.
    """
    op, potentials = op_of(node), None
    if isinstance(op, Input):
        return input_value(graph, node, feeds, steps), None
    params = graph.arrays(node)
    if isinstance(op, Stateful):
        if graph.stage == "int" and state_bound(op, inputs, params, steps) >= LARGEST:
            inputs = [unbounded(value) for value in inputs]
        value, potentials = op.scan(inputs, params, steps)
    else:
        value = run_linear(node, inputs, params)
    if graph.stage != "int":
        return value, potentials
    check_width(graph, node, value, potentials)
    return machine(value), None if potentials is None else machine(potentials)


def as_read(node: Node, feeds: Feeds, steps: int) -> Value:
    """What a run reads of an input (batch, *shape): of frames the first (batch, steps, *shape)."""
    x = np.asarray(feeds[node.name])
    return x[:, :steps] if op_of(node, Input).timed else x


def over_time(node: Node, feeds: Feeds, steps: int) -> Value:
    """An input by its steps: (1, batch, *shape), or its frames (steps, batch, *shape)."""
    x = as_read(node, feeds, steps)
    return np.moveaxis(x, 1, 0) if op_of(node, Input).timed else x[None]


def without_time(node: Node, feeds: Feeds) -> Value:
    """What an ANN sees of an input (batch, *shape): of frames their mean."""
    x = np.asarray(feeds[node.name])
    return x.mean(axis=1, dtype=np.float32) if op_of(node, Input).timed else x


def input_value(graph: Graph, node: Node, feeds: Feeds, steps: int) -> Value:
    """An input (1 or steps, batch, *shape): float32, or int64 within its declared width."""
    value = over_time(node, feeds, steps)
    if graph.stage != "int":
        return value.astype(np.float32)
    _check_bounds(node, value, node.type.dtype)
    return value.astype(np.int64)


def state_bound(op: Stateful, inputs: list[Value], params: Mapping[str, Value], steps: int) -> int:
    """Bound of all numbers that a stateful op meets in `steps` steps, whatever it may hold."""
    whole = {role: unbounded(p) for role, p in params.items() if not op.params[role].is_unit}
    sizes = {role: magnitude(array) for role, array in whole.items()}
    payload, taken = 1, 0
    if isinstance(op, Neuron):  # what a reset takes is largest at the first or the last step
        payload = max(op.payload.bounds[1], -op.payload.bounds[0])
        taken = max(
            magnitude(unbounded(op.amount(np.full((), payload, object), whole, t, steps)))
            for t in (0, steps - 1)
        )
    added = sum(size for role, size in sizes.items() if op.params[role].kind == "current")
    each_step = added + taken + sum(magnitude(value) for value in inputs)
    return 2 * payload * sum(sizes.values()) + total_weight(steps, radix=op.radix) * each_step


def unit_events(value: Value) -> NDArray[np.int64]:
    """How many samples have a payload of 1 or -1, per step and element (steps, *shape)."""
    return np.asarray((abs(value) == 1).sum(axis=1), np.int64)


def state_type(graph: Graph, node: Node) -> DType:
    """The integer type that holds a layer's potential: at least as wide as its current."""
    return graph[node.inputs[0]].type.dtype if op_of(node).neuron else node.type.dtype


def check_width(graph: Graph, node: Node, value: Value, potentials: Value | None) -> None:
    """Check a value, and a neuron's potential before and after the reset, by their widths.

    Raises:
        RangeError: naming the layer, the neuron and the step of the first overflow.
    """
    op = op_of(node)
    if not isinstance(op, Neuron):
        _check_bounds(node, value, node.type.dtype)
    elif potentials is not None:
        before_reset = charged(graph, node, potentials, value)
        _check_bounds(node, before_reset, state_type(graph, node), potentials)


def charged(graph: Graph, node: Node, potentials: Value, payloads: Value) -> Value:
    """A neuron layer's potentials of all steps before the reset (steps, batch, *shape)."""
    op, after = op_of(node, Neuron), wide(potentials)
    params = op.spread_params(graph.arrays(node), node.type.shape, after)
    return op.before_reset(after, payloads.astype(after.dtype), params)


def _check_bounds(node: Node, value: Value, dtype: DType, after: Value | None = None) -> None:
    low, high = dtype.bounds
    both = [value] if after is None else [value, after]
    if all(x.min(initial=0) >= low and x.max(initial=0) <= high for x in both):
        return
    outside = [(x < low) | (x > high) for x in both]
    places = np.argwhere(np.any(outside, axis=0))
    if len(places):
        step, sample, *neuron = map(int, places[0])
        where = (step, sample, *neuron)
        reached = next(x[where] for x, out in zip(both, outside, strict=True) if out[where])
        overflow(node, step, sample, tuple(neuron), int(reached), dtype)


def overflow(
    node: Node, step: int, sample: int, neuron: tuple[int, ...], value: int, dtype: DType
) -> None:
    """Raise the RangeError for a value that leaves its width; `step` counts from 0."""
    raise RangeError(
        f"%{node.name} reaches {value} at neuron {list(neuron)}, step {step + 1}, sample {sample}; "
        f"{dtype} holds {dtype.bounds[0]} to {dtype.bounds[1]}",
        loc=node.loc,
        hint="compile with fewer --weight-bits or a target with wider state",
    )
