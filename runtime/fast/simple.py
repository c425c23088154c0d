"""Any graph, node by node: exact integers carried by float kernels and compiled neuron scans.

Equal to the reference bit for bit; the engine uses it for what its compiled layers do not cover.
Products of spikes with integer weights are summed by BLAS in float32 where the sums provably stay
below 2^24, else in float64 (below 2^53).
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spikec.ir import Graph, Node, RangeError, op_of
from spikec.ir.analysis import run_linear
from spikec.ir.neuron import Neuron
from spikec.ir.op import Stateful
from spikec.ir.ops.input import Input
from spikec.ir.ops.max_pool_count import MaxPoolCount
from spikec.ir.ops.synapses.affine import Affine
from spikec.ir.windows import Pooling
from spikec.runtime.fast.scans import KERNELS, scan
from spikec.runtime.interpreter import (
    Feeds,
    Observer,
    Simulation,
    check_feeds,
    check_width,
    last_use,
    overflow,
    state_type,
)

Array = NDArray[Any]


def simulate(
    graph: Graph, feeds: Feeds, steps: int | None = None, trace: Collection[str] = ()
) -> Simulation:
    """Run a spiking graph; arguments, result and errors as the reference's `simulate`."""
    check_feeds(graph, feeds)
    steps = steps or graph.steps
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
        return _input(graph, node, feeds), None
    if isinstance(op, Neuron):
        return run_neuron(graph, node, op, inputs[0], steps, keep, parallel)
    if isinstance(op, Stateful):
        return _stateful(graph, node, op, inputs, steps)
    return _linear(graph, node, inputs, steps), None


def _input(graph: Graph, node: Node, feeds: Feeds) -> Array:
    if graph.stage == "snn":
        return np.asarray(feeds[node.name], dtype=np.float32)[None]
    value = np.asarray(feeds[node.name])[None]
    value = value.astype(np.int64) if value.dtype.kind == "f" else value
    low, high = node.type.dtype.bounds
    _check_bounds(node, value, low, high, node.type.dtype)
    return value


def run_neuron(
    graph: Graph, node: Node, op: Neuron, current: Array, steps: int, keep: bool, parallel: bool
) -> tuple[Array, Array | None]:
    """Payloads (steps, batch, *shape) of a neuron layer, and potentials if `keep`."""
    params = {role: a for role, a in graph.arrays(node).items() if not op.params[role].is_unit}
    if graph.stage != "int":
        return scan(op, current.astype(np.float32, copy=False), params, steps, keep, parallel)
    kernel = KERNELS.get(type(op))
    if kernel is None or kernel.scan is None:
        payloads, potentials = scan(op, current, params, steps, True)
        check_width(graph, node, payloads, potentials)
        return payloads, potentials
    # a threshold times its payload may exceed 32 bits
    wide = np.int64 if node.type.dtype.is_graded else np.int32
    payloads, potentials = scan(op, current.astype(wide), params, steps, keep, parallel)
    if _may_overflow(graph, node, current, params, steps):
        check_width(graph, node, *scan(op, current.astype(np.int64), params, steps, True))
    return payloads, potentials


def _may_overflow(
    graph: Graph, node: Node, current: Array, params: Mapping[str, Array], steps: int
) -> bool:
    """Whether a potential could leave its width, judged by the extremes of the current."""
    low, high = state_type(graph, node).bounds
    reach = max(abs(int(current.max(initial=0))), abs(int(current.min(initial=0))))
    fixed = {role: int(np.abs(array).max(initial=0)) for role, array in params.items()}
    reset = fixed["theta"] * node.type.dtype.bounds[1]
    start = fixed["v0"] + reset
    return start + steps * (reach + fixed.get("bias", 0) + reset) > min(high, -low)


def _check_bounds(node: Node, value: Array, low: int, high: int, dtype: Any) -> None:
    if value.size and (value.min() < low or value.max() > high):
        step, sample, *neuron = map(int, np.argwhere((value < low) | (value > high))[0])
        where = tuple(neuron)
        overflow(node, step, sample, where, int(value[(step, sample, *where)]), dtype)


def _stateful(
    graph: Graph, node: Node, op: Stateful, inputs: list[Array], steps: int
) -> tuple[Array, Array]:
    wide = np.int64 if graph.stage == "int" else np.float32
    if isinstance(op, MaxPoolCount):
        return op.scan(inputs, {}, steps)
    value, potentials = op.scan([x.astype(wide) for x in inputs], graph.arrays(node), steps)
    if graph.stage == "int":
        low, high = node.type.dtype.bounds
        _check_bounds(node, value, low, high, node.type.dtype)
    return value, potentials


def _linear(graph: Graph, node: Node, inputs: list[Array], steps: int) -> Array:
    op, params = op_of(node), graph.arrays(node)
    if params.pop("exponent", None) is not None:
        params["w"] = graph.weights(node)
    exact = op.result == "same" and not op.weighted
    carrier = None if exact else _carrier(graph, node, inputs, params)
    if carrier is not None:
        inputs = [x.astype(carrier, copy=False) for x in inputs]
        params = {role: array.astype(carrier) for role, array in params.items()}
    value = run_linear(node, inputs, params)
    if graph.stage == "int" and not exact:
        low, high = node.type.dtype.bounds
        _check_bounds(node, value, low, high, node.type.dtype)
    return value


def _carrier(
    graph: Graph, node: Node, inputs: list[Array], params: Mapping[str, Array]
) -> type[np.floating[Any]]:
    """The float type whose sums are exact for this node's integers."""
    if graph.stage == "snn":
        return np.float32
    reach = sum(max(abs(float(x.max(initial=0))), abs(float(x.min(initial=0)))) for x in inputs)
    if "w" in params and op_of(node).weighted:
        w = np.abs(graph.weights(node).astype(np.float64))
        many = w.ndim > 1 and not isinstance(node.operation, Affine)
        gain = float(w.reshape(len(w), -1).sum(axis=1).max() if many else w.max(initial=0))
    else:
        op = node.operation
        gain = float(math.prod(op.kernel)) if isinstance(op, Pooling) else 1.0
    bound = reach * gain + sum(float(np.abs(params[r]).max()) for r in params if r == "b")
    if bound < 1 << 24:
        return np.float32
    if bound < 1 << 53:
        return np.float64
    raise RangeError(f"sums of %{node.name} may exceed 53 bits", loc=node.loc)
