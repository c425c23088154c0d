"""The reference interpreter: runs a graph of any stage by its ops' NumPy meaning.

Slow and obviously correct. Integers are int64 and every current and potential is checked against
its declared width. A spiking graph is feed-forward, so each layer computes all its time steps
before the next layer starts; step for step this equals running the layers in lock step.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spikec.ir import Graph, InvalidData, Node, RangeError, op_of
from spikec.ir.analysis import last_reads, run_linear
from spikec.ir.neuron import Neuron
from spikec.ir.op import Stateful, Value, steps_of
from spikec.ir.ops.input import Input
from spikec.ir.types import DType

Feeds = Mapping[str, Value]


@dataclass(frozen=True, slots=True)
class LayerTrace:
    """What one layer did: spikes and potentials after reset, both (steps, batch, *shape)."""

    spikes: NDArray[Any] | None
    potentials: NDArray[Any]


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

    readout: dict[str, NDArray[Any]] = field(default_factory=dict)
    events: dict[str, NDArray[np.int64]] = field(default_factory=dict)
    traces: dict[str, LayerTrace] = field(default_factory=dict)
    units: dict[str, NDArray[np.int64]] = field(default_factory=dict)


def check_feeds(graph: Graph, feeds: Feeds) -> int:
    """The batch size of `feeds`; raises InvalidData for missing, misshaped or NaN inputs."""
    sizes = set()
    for node in graph.inputs:
        if node.name not in feeds:
            raise InvalidData(f"no data for input '{node.loc or node.name}'")
        x = feeds[node.name]
        if x.shape[1:] != node.type.shape:
            raise InvalidData(
                f"input '{node.loc or node.name}' has shape {list(x.shape[1:])} per sample, "
                f"the model expects {list(node.type.shape)}"
            )
        sizes.add(len(x))
    if len(sizes) != 1 or 0 in sizes:
        raise InvalidData("all inputs need the same number of samples, at least one")
    return int(sizes.pop())


def forward(graph: Graph, feeds: Feeds, keep: Collection[str] = ()) -> dict[str, Value]:
    """Run a graph of stage ann.

    Args:
        graph: The graph.
        feeds: Input node name to array (batch, *shape).
        keep: Nodes whose values to return besides the outputs.

    Returns:
        Node name to value (batch, *shape).
    """
    check_feeds(graph, feeds)
    wanted = {*keep, *graph.outputs}
    found: dict[str, Value] = {}
    for node, value in evaluate(graph, feeds):
        if node.name in wanted:
            found[node.name] = value
    return found


def evaluate(graph: Graph, feeds: Feeds) -> Iterator[tuple[Node, Value]]:
    """Yield each node of an ann graph with its value, dropping values no longer needed."""
    last = last_use(graph)
    values: dict[str, Value] = {}
    for node in graph.nodes:
        if isinstance(node.operation, Input):
            values[node.name] = np.asarray(feeds[node.name], dtype=np.float32)
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
        feeds: Input node name to array (batch, *shape), at stage int already encoded integers.
        steps: Time steps; the graph's own by default.
        trace: Layers whose spikes and potentials to return.

    Raises:
        InvalidData: when the feeds do not fit.
        RangeError: at stage int, when a value leaves its declared width.
    """
    check_feeds(graph, feeds)
    steps = steps or graph.steps
    wide = np.int64 if graph.stage == "int" else np.float32
    observer, last = Observer(graph, steps, trace), last_use(graph)
    values: dict[str, Value] = {}
    for node in graph.nodes:
        op, inputs = op_of(node), [values[name] for name in node.inputs]
        potentials = None
        if isinstance(op, Input):
            value = feeds[node.name].astype(wide)[None]
        elif isinstance(op, Stateful):
            value, potentials = op.scan(inputs, graph.arrays(node), steps)
        else:
            value = run_linear(node, inputs, graph.arrays(node))
        if graph.stage == "int":
            check_width(graph, node, value, potentials)
        values[node.name] = value
        observer.see(node, value, potentials)
        for name in last.get(node.name, ()):
            del values[name]
    return observer.result


def unit_events(value: Value) -> NDArray[np.int64]:
    """How many samples have a payload of 1 or -1, per step and element (steps, *shape)."""
    return np.asarray((abs(value) == 1).sum(axis=1), np.int64)


def state_type(graph: Graph, node: Node) -> DType:
    """The integer type that holds a layer's potential: at least as wide as its current."""
    return graph[node.inputs[0]].type.dtype if op_of(node).neuron else node.type.dtype


def check_width(graph: Graph, node: Node, value: Value, potentials: Value | None) -> None:
    """Check a value, and a neuron's potential before reset, against their declared widths.

    Raises:
        RangeError: naming the layer, the neuron and the step of the first overflow.
    """
    op = op_of(node)
    if not isinstance(op, Neuron):
        _check_bounds(node, value, node.type.dtype)
    elif potentials is not None:
        _check_bounds(node, charged(graph, node, potentials, value), state_type(graph, node))


def charged(graph: Graph, node: Node, potentials: Value, payloads: Value) -> Value:
    """A neuron layer's potentials of all steps before the reset, int64 (steps, batch, *shape)."""
    op, wide = op_of(node, Neuron), potentials.astype(np.int64)
    params = op.spread_params(graph.arrays(node), node.type.shape, wide)
    return op.before_reset(wide, payloads.astype(np.int64), params)


def _check_bounds(node: Node, value: Value, dtype: DType) -> None:
    low, high = dtype.bounds
    if value.size == 0 or (value.min() >= low and value.max() <= high):
        return
    step, sample, *neuron = map(int, np.argwhere((value < low) | (value > high))[0])
    overflow(node, step, sample, tuple(neuron), int(value[(step, sample, *neuron)]), dtype)


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
