"""Which of Lava's synapses stands for which linear op."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Protocol

import numpy as np

from spikec.backends.lava import calls, intervals
from spikec.backends.lava.calls import Interval
from spikec.backends.lava.matrix import Matrix, matrices
from spikec.backends.lava.plan import Plan, Process, Wire
from spikec.ir import BackendError, Graph, Node, op_of, spread
from spikec.ir.op import Op
from spikec.ir.ops.routing.add import Add
from spikec.ir.ops.routing.reshape import Reshape
from spikec.ir.ops.routing.sum_pool import SumPool
from spikec.ir.ops.synapses.affine import Affine
from spikec.ir.ops.synapses.conv import Conv
from spikec.ir.ops.synapses.dense import Dense
from spikec.ir.types import Array
from spikec.ir.windows import Window

STATE = (-(1 << 23), (1 << 23) - 1)
"""Lava's Conv wraps its sums at 24 bits."""
SUM = (-(1 << 30), (1 << 30) - 1)
"""Dense and Sparse wrap twice their sum at 32 bits."""
UNROLLED = 1 << 24
"""Synapses of a convolution up to which it is unrolled: 128 MB."""
LARGEST_UNROLLED = 1 << 26
"""The same where Lava's Conv cannot do it at all."""
CONV_MICROSECONDS = 500
"""Time per step up to which Lava's own Conv is preferred, being easier to read."""


class Planner(Protocol):
    """What a lowering asks of the one who plans the network."""

    graph: Graph
    plan: Plan

    def array(self, node: Node, role: str) -> Array:
        """A param's array."""

    def weight(self, node: Node, role: str, array: Array) -> str:
        """Store synaptic weights; returns their key."""

    def join(
        self, source: list[Wire], node: Node
    ) -> tuple[tuple[Wire, ...], tuple[int, ...], Interval]:
        """Wires that may enter one InPort together, the value's shape, its elements' range."""

    def synapse(self, node: Node, process: Process, bounds: Interval) -> Wire:
        """Add a synapse process for `node`."""

    def constant(self, node: Node, array: Array) -> list[Wire]:
        """A current that flows all the time."""

    def bias(self, node: Node) -> list[Wire]:
        """The constant that a weighted op adds, if it has one."""


def shares(planner: Planner, node: Node, w: Array) -> Iterator[tuple[int, Array, str]]:
    """A synapse's weights by weight exponent, since Lava's synapses have one for all their weights.

    Yields:
        The exponent, the weights of the output channels (axis 0) that have it, zeros in place of
        the others, and what tells this share from the others in names.
    """
    if "exponent" not in node.params:
        yield 0, w, ""
        return
    exponents = np.broadcast_to(planner.array(node, "exponent"), w.shape[:1])
    used = np.unique(exponents)
    for exponent in used.tolist():
        mine = (exponents == exponent).reshape(-1, *(1,) * (w.ndim - 1))
        yield exponent, w * mine, f"_exp{exponent}" if len(used) > 1 else ""


def dense(planner: Planner, node: Node, inputs: Sequence[list[Wire]]) -> list[Wire]:
    """Dense: a matrix."""
    wires, _, interval = planner.join(inputs[0], node)
    made = []
    for exponent, w, part in shares(planner, node, planner.array(node, "w")):
        bounds = intervals.through(w.astype(np.int64) << exponent, interval)
        name = f"{node.name}{part}"
        call = calls.Dense(name, planner.weight(node, f"w{part}", w), exponent)
        process = Process(name, call, wires, "s_in", wires[0].shape)
        made.append(planner.synapse(node, process, bounds))
    planner.plan.synapses += planner.array(node, "w").size
    return [*made, *planner.bias(node)]


def affine(planner: Planner, node: Node, inputs: Sequence[list[Wire]]) -> list[Wire]:
    """Element-wise factors: one synapse per neuron."""
    full = np.broadcast_to(spread(planner.array(node, "w"), node.type.shape), node.type.shape)
    wires, _, interval = planner.join(inputs[0], node)
    made = []
    for exponent, w, part in shares(planner, node, full):
        bounds = intervals.through(w.reshape(-1, 1).astype(np.int64) << exponent, interval)
        name = f"{node.name}{part}"
        call = calls.OneToOne(name, planner.weight(node, f"w{part}", w), exponent)
        process = Process(name, call, wires, "s_in", (full.size,))
        made.append(planner.synapse(node, process, bounds))
    planner.plan.synapses += full.size
    return [*made, *planner.bias(node)]


def conv(planner: Planner, node: Node, inputs: Sequence[list[Wire]]) -> list[Wire]:
    """Convolution."""
    w = planner.array(node, "w")
    op = op_of(node, Conv)
    groups, window = op.groups, op.window(w.shape[2:])
    made = [
        _convolution(planner, node, inputs[0], share, window, groups, exponent, part)
        for exponent, share, part in shares(planner, node, w)
    ]
    return [*made, *planner.bias(node)]


def sum_pool(planner: Planner, node: Node, inputs: Sequence[list[Wire]]) -> list[Wire]:
    """Sum over windows: a depthwise convolution of ones."""
    window = op_of(node, SumPool).window
    channels = node.type.shape[0]
    w = np.ones((channels, 1, *window.kernel), np.int8)
    return [_convolution(planner, node, inputs[0], w, window, channels)]


def add(planner: Planner, node: Node, inputs: Sequence[list[Wire]]) -> list[Wire]:
    """Sum: several OutPorts into one InPort, wherever the value is read."""
    return [wire for wires in inputs for wire in wires]


def reshape(planner: Planner, node: Node, inputs: Sequence[list[Wire]]) -> list[Wire]:
    """Another shape: a virtual port, wherever the value is read."""
    return [replace(wire, shape=node.type.shape) for wire in inputs[0]]


def any_linear(planner: Planner, node: Node, inputs: Sequence[list[Wire]]) -> list[Wire]:
    """Every other linear op: for each input the matrix that it multiplies by."""
    by_input, offset = matrices(planner.graph, node)
    made = []
    for k, matrix in enumerate(by_input):
        wires, _, interval = planner.join(inputs[k], node)
        for exponent, rows, part in _row_shares(planner, node, matrix):
            key = f"{node.name}.{k}{part}"
            weight = matrix.weight[rows] >> exponent
            planner.weight(node, f"{k}{part}.weight", weight)
            for name, places in (("row", matrix.row[rows]), ("column", matrix.column[rows])):
                planner.plan.weights[f"{key}.{name}"] = np.asarray(places, np.int32)
            planner.plan.weights[f"{key}.shape"] = np.asarray(matrix.shape, np.int32)
            positive, negative = (
                np.bincount(matrix.row[rows], sign.astype(float), offset.size).astype(np.int64)
                for sign in (matrix.weight[rows].clip(min=0), -matrix.weight[rows].clip(max=0))
            )
            bounds = intervals.through_sums(positive, negative, interval)
            call = calls.Sparse(key, key, exponent)
            process = Process(key, call, wires, "s_in", matrix.shape[1:])
            planner.plan.synapses += len(weight)
            made.append(planner.synapse(node, process, bounds))
    return made + (planner.constant(node, offset) if offset.any() else [])


def _row_shares(planner: Planner, node: Node, matrix: Matrix) -> Iterator[tuple[int, Array, str]]:
    """As `shares`, of a matrix with its exponents multiplied in: which entries each takes."""
    if "exponent" not in node.params:
        yield 0, np.arange(len(matrix.weight)), ""
        return
    exponent = spread(planner.array(node, "exponent"), node.type.shape)
    by_row = np.broadcast_to(exponent, node.type.shape).ravel()[matrix.row]
    used = np.unique(by_row)
    for value in used.tolist():
        yield value, np.flatnonzero(by_row == value), f"_exp{value}" if len(used) > 1 else ""


Lowering = Callable[[Planner, Node, Sequence[list[Wire]]], list[Wire]]
LOWERINGS: dict[type[Op], Lowering] = {
    Add: add,
    Affine: affine,
    Conv: conv,
    Dense: dense,
    Reshape: reshape,
    SumPool: sum_pool,
}
"""Linear ops with a process or port of their own; `any_linear` does the others."""


def _convolution(
    planner: Planner,
    node: Node,
    source: list[Wire],
    w: Array,
    window: Window,
    groups: int,
    exponent: int = 0,
    part: str = "",
) -> Wire:
    wires, shape, interval = planner.join(source, node)
    bounds = intervals.through(w.reshape(len(w), -1).astype(np.int64) << exponent, interval)
    synapses = w.size * math.prod(node.type.shape[1:])
    beyond = _beyond_lava(w, window, groups, bounds)
    if exponent and not beyond:
        beyond = "Lava's Conv has no weight exponent"
    planner.plan.synapses += synapses
    if beyond and synapses > LARGEST_UNROLLED:
        raise BackendError(
            f"%{node.name} needs {synapses} synapses unrolled, and {beyond}", loc=node.loc
        )
    slow = _conv_microseconds(w, node) > CONV_MICROSECONDS
    use_stock = not beyond and (not slow or synapses > UNROLLED)
    name, port = f"{node.name}{part}", shape if use_stock else (math.prod(shape),)
    call = calls.Convolution(
        name,
        planner.weight(node, f"w{part}", w),
        exponent,
        shape=shape,
        window=window,
        groups=groups,
        stock=use_stock,
    )
    why = beyond or "Lava's Conv is slower"
    process = Process(name, call, wires, "s_in", port, transposed=use_stock, why=why)
    return planner.synapse(node, process, bounds)


def _beyond_lava(w: Array, window: Window, groups: int, bounds: Interval) -> str:
    """Why Lava's Conv does not compute this convolution exactly; empty where it does."""
    rank = len(window.kernel)
    if rank != 2:
        return f"Lava's Conv takes two axes, not {rank}"
    if window.pads[:rank] != window.pads[rank:]:
        return "Lava's Conv pads both sides alike"
    sizes = (*window.kernel, *window.strides, *window.pads, *window.dilations, groups)
    if max(sizes) > 127:
        return "Lava's Conv gives zeros from 128 groups on and counts its geometry in 8 bits"
    return "" if intervals.within(bounds, STATE) else "Lava's Conv wraps its sums at 24 bits"


def _conv_microseconds(w: Array, node: Node) -> float:
    """What Lava's Conv takes per step: measured, for each pair of maps that meet."""
    return float(w.shape[0] * w.shape[1] * (6 + 0.04 * math.prod(node.type.shape[1:])))
