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

from spikec.ir import Graph, Node, PassError, RangeError, op_of, spread
from spikec.ir.analysis import run_linear
from spikec.ir.neuron import Neuron, Sign
from spikec.ir.op import Stateful
from spikec.ir.ops.input import Input
from spikec.ir.ops.max_pool_count import MaxPoolCount
from spikec.ir.ops.neurons.integrate_window import IntegrateWindow
from spikec.ir.ops.synapses.affine import Affine
from spikec.ir.types import spikes as spike_type
from spikec.ir.windows import Pooling
from spikec.runtime import kernels
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
COMPILED = ("integrate", "integrate_signed", "integrate_graded", "integrate_window")
"""Neurons that have a kernel; others are run by their own `scan`."""


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
    if node.op in COMPILED:
        return run_neuron(graph, node, inputs[0], steps, keep, parallel)
    if isinstance(op, Neuron):
        return _own_scan(graph, node, op, inputs[0], steps)
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


def neuron_kind(node: Node) -> int:
    """The kernel's kind of a neuron node; raises PassError where there is no kernel."""
    if node.op not in COMPILED:
        raise PassError(f"%{node.name} = {node.op} has no compiled kernel; only `scan`",
                        loc=node.loc)  # fmt: skip
    if node.op == "integrate":
        return kernels.UNSIGNED
    free = op_of(node, Neuron).sign is Sign.FREE
    if node.op == "integrate_window":
        return kernels.WINDOW_FREE if free else kernels.WINDOW
    return kernels.FREE if free else kernels.SIGNED


def _own_scan(
    graph: Graph, node: Node, op: Neuron, current: Array, steps: int
) -> tuple[Array, Array]:
    """A neuron without a kernel, by its op's own meaning."""
    wide = current.astype(np.int64 if graph.stage == "int" else np.float32)
    spikes, potentials = op.scan([wide], graph.arrays(node), steps)
    if graph.stage == "int":
        check_width(graph, node, spikes, potentials)
    return spikes.astype(node.type.dtype.storage), potentials


def run_neuron(
    graph: Graph, node: Node, current: Array, steps: int, keep: bool, parallel: bool = True
) -> tuple[Array, Array | None]:
    """Spikes (steps, batch, *shape) int8 of a neuron layer, and potentials if `keep`."""
    params = {role: graph.array(node, role) for role in node.params if role != "scale"}
    if graph.stage == "int":
        current = current.astype(np.int32)
    kind, levels = neuron_kind(node), node.type.dtype.levels
    if graph.stage == "int" and levels > 1:
        current = current.astype(np.int64)  # a threshold times its payload may exceed 32 bits
    spikes, potentials = scan(current, params, kind, steps, keep, parallel, levels)
    if graph.stage == "int" and _may_overflow(graph, node, current, params, steps):
        _check_potential(graph, node, current, params, steps)
    return spikes, potentials


def scan(
    current: Array,
    params: Mapping[str, Array],
    kind: int,
    steps: int,
    keep: bool,
    parallel: bool = True,
    levels: int = 1,
) -> tuple[Array, Array | None]:
    """Run the compiled neuron kernel.

    Args:
        current: (steps or 1, batch, *shape), float32 or int32.
        params: theta, v0, and optionally bias and theta_neg; each spreads over shape.
        kind: A kernel kind.
        steps: Time steps.
        keep: Whether to return potentials.
        parallel: Whether to use all cores.
        levels: Number of payloads; above 1 for graded neurons, with the param fire.
    """
    if kind in (kernels.WINDOW, kernels.WINDOW_FREE):
        wider = current if current.dtype.kind == "f" else current.astype(np.int64)
        window = IntegrateWindow(free=kind == kernels.WINDOW_FREE)
        spikes, potentials = window.scan([wider], params, steps)
        return spikes.astype(np.int8), potentials if keep else None
    shape = current.shape[2:]
    wide = current.dtype
    flat = {
        role: np.ascontiguousarray(
            np.broadcast_to(spread(np.asarray(params.get(role, 0)), shape), shape), dtype=wide
        ).reshape(-1)
        for role in ("theta", "v0", "bias", "fire" if levels > 1 else "theta_neg")
    }
    rows = np.ascontiguousarray(current).reshape(*current.shape[:2], -1)
    spikes = np.empty((steps, *rows.shape[1:]), spike_type(levels).storage)
    potentials = np.empty(spikes.shape if keep else (0, 0, 0), wide)
    theta, v0, bias, level = flat.values()
    if levels > 1:
        graded = kernels.scan_graded if parallel else kernels.scan_graded_serial
        graded(rows, theta, v0, bias, level, levels, kind == kernels.FREE, spikes, potentials)
    else:
        run = kernels.scan if parallel else kernels.scan_serial
        run(rows, theta, v0, bias, level, kind, spikes, potentials)
    full = (steps, current.shape[1], *shape)
    return spikes.reshape(full), potentials.reshape(full) if keep else None


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


def _check_potential(
    graph: Graph, node: Node, current: Array, params: Mapping[str, Array], steps: int
) -> None:
    """Scan again in 64 bits and raise RangeError at the first potential that overflows."""
    low, high = state_type(graph, node).bounds
    levels, wide = node.type.dtype.levels, current.astype(np.int64)
    spikes, potentials = scan(wide, params, neuron_kind(node), steps, True, levels=levels)
    assert potentials is not None
    before = potentials + spread(params["theta"].astype(np.int64), node.type.shape) * spikes
    _check_bounds(node, before, low, high, state_type(graph, node))


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
