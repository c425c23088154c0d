"""Any graph, node by node: exact integers carried by float kernels and compiled neuron scans.

Equal to the reference bit for bit; the engine uses it for what its compiled layers do not cover.
Products of spikes with integer weights are summed by BLAS in float32 where the sums provably stay
below 2^24, in float64 below 2^52, else as the reference sums them.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping

import numpy as np

from spikec.ir import Graph, Node, op_of
from spikec.ir.analysis import run_linear
from spikec.ir.analysis.linear import sum_bound
from spikec.ir.exact import LARGEST
from spikec.ir.neuron import Neuron
from spikec.ir.op import Op, Stateful
from spikec.ir.ops.input import Input
from spikec.ir.ops.max_pool_count import MaxPoolCount
from spikec.ir.types import Array
from spikec.runtime.fast.scans import KERNELS, scan
from spikec.runtime.interpreter import (
    Feeds,
    Observer,
    Simulation,
    check_feeds,
    check_width,
    last_use,
    over_time,
    overflow,
    run_length,
    state_bound,
    state_type,
)
from spikec.runtime.interpreter import run_node as reference_node

_FLOATS = ((np.float32, 1 << 24), (np.float64, 1 << 52))
"""Float types and up to where all sums of integers are exact in them; the bound is rounded, too."""


def simulate(
    graph: Graph, feeds: Feeds, steps: int | None = None, trace: Collection[str] = ()
) -> Simulation:
    """Run a spiking graph; arguments, result and errors as the reference's `simulate`."""
    steps = run_length(graph, steps)
    check_feeds(graph, feeds, steps)
    observer, last = Observer(graph, steps, trace), last_use(graph)
    values: dict[str, Array] = {}
    for node in graph.nodes:
        inputs = [values[name] for name in node.inputs]
        value, potentials = run_node(graph, node, inputs, feeds, steps, node.name in trace)
        values[node.name] = value
        observer.see(node, value, potentials)
        for name in last.get(node.name, ()):
            del values[name]
    return observer.result


def run_node(
    graph: Graph,
    node: Node,
    inputs: list[Array],
    feeds: Feeds,
    steps: int,
    keep: bool,
    parallel: bool = True,
) -> tuple[Array, Array | None]:
    """Value (steps or 1, batch, *shape) of a node, and potentials of a stateful one."""
    op = node.operation
    if isinstance(op, Input):
        return _input(graph, node, feeds, steps), None
    if isinstance(op, Neuron):
        return run_neuron(graph, node, op, inputs[0], steps, keep, parallel)
    pools_spikes = (
        isinstance(op, MaxPoolCount) and node.type.dtype == graph[node.inputs[0]].type.dtype
    )
    if isinstance(op, Stateful):  # what pools spikes gives spikes again, within their width
        return (
            op.scan(inputs, {}, steps)
            if pools_spikes
            else _by_its_rule(graph, node, inputs, feeds, steps)
        )
    return _linear(graph, node, inputs), None


def _input(graph: Graph, node: Node, feeds: Feeds, steps: int) -> Array:
    value = over_time(node, feeds, steps)
    if graph.stage == "snn":
        return value.astype(np.float32, copy=False)
    value = value.astype(np.int64) if value.dtype.kind == "f" else value
    _check_bounds(node, value)
    return value


def _by_its_rule(
    graph: Graph, node: Node, inputs: list[Array], feeds: Feeds, steps: int
) -> tuple[Array, Array | None]:
    """A stateful op as the reference runs it."""
    inputs = [x.astype(np.int64 if graph.stage == "int" else np.float32) for x in inputs]
    value, potentials = reference_node(graph, node, inputs, feeds, steps)
    spiking = node.type.dtype.is_spike
    return value.astype(node.type.dtype.storage) if spiking else value, potentials


def run_neuron(
    graph: Graph, node: Node, op: Neuron, current: Array, steps: int, keep: bool, parallel: bool
) -> tuple[Array, Array | None]:
    """Payloads (steps, batch, *shape) of a neuron layer, and potentials if `keep`."""
    params = {role: a for role, a in graph.arrays(node).items() if not op.params[role].is_unit}
    if graph.stage != "int":
        return scan(op, current.astype(np.float32, copy=False), params, steps, keep, parallel)
    kernel, bound = KERNELS.get(type(op)), state_bound(op, [current], params, steps)
    if kernel is None or kernel.scan is None or bound >= LARGEST:
        return _by_its_rule(graph, node, [current], {}, steps)
    narrow = bound < 1 << 31 and not node.type.dtype.is_graded
    current = current.astype(np.int32 if narrow else np.int64)
    low, high = state_type(graph, node).bounds
    may_leave = bound > min(high, -low)
    payloads, potentials = scan(op, current, params, steps, keep or may_leave, parallel)
    if may_leave:
        check_width(graph, node, payloads, potentials)
    return payloads, potentials if keep else None


def _check_bounds(node: Node, value: Array) -> None:
    low, high = node.type.dtype.bounds
    if value.size and (value.min() < low or value.max() > high):
        step, sample, *neuron = map(int, np.argwhere((value < low) | (value > high))[0])
        where = tuple(neuron)
        reached = int(value[(step, sample, *where)])
        overflow(node, step, sample, where, reached, node.type.dtype)


def _linear(graph: Graph, node: Node, inputs: list[Array]) -> Array:
    op, params = op_of(node), graph.arrays(node)
    if op.result == "same":
        return run_linear(node, _alike(inputs), params)
    carrier = np.float32 if graph.stage == "snn" else _carrier(op, inputs, params)
    if carrier is None:
        value = run_linear(node, [x.astype(np.int64) for x in inputs], params)
    else:
        params = {role: array.astype(carrier) for role, array in params.items()}
        value = run_linear(node, [x.astype(carrier, copy=False) for x in inputs], params)
    if graph.stage == "int":
        _check_bounds(node, value)
    return value


def _alike(inputs: list[Array]) -> list[Array]:
    """Integers of one element type: a float type cannot hold those of another one."""
    if len({x.dtype for x in inputs}) == 1:
        return inputs
    return [x.astype(np.int64) for x in inputs]


def _carrier(op: Op, inputs: list[Array], params: Mapping[str, Array]) -> type[np.floating] | None:
    """The float type that holds all sums of an op's integers, None where none does."""
    bound = sum_bound(op, [x.reshape(-1, *x.shape[2:]) for x in inputs], params)
    return next((kind for kind, limit in _FLOATS if bound < limit), None)
