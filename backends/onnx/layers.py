"""Neurons, max pooling and readout: one Scan per layer."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from spikec.backends.onnx.net import (
    Net,
    Value,
    count_outside,
    expect_exact_sum,
    integer,
    spike_type,
)
from spikec.backends.onnx.scan import Scan, State
from spikec.backends.onnx.writer import FLOAT, INT32, INT64
from spikec.ir import BackendError, Node, op_of
from spikec.ir.neuron import Neuron, Sign
from spikec.ir.op import Op
from spikec.ir.ops.accumulate import Accumulate
from spikec.ir.ops.max_pool_count import MaxPoolCount
from spikec.ir.ops.neurons.integrate import Integrate
from spikec.ir.ops.neurons.integrate_graded import IntegrateGraded
from spikec.ir.ops.neurons.integrate_signed import IntegrateSigned
from spikec.ir.ops.neurons.integrate_window import IntegrateWindow
from spikec.ir.windows import Pooling
from spikec.runtime.interpreter import state_type

_LARGEST_COUNT = 1 << 24


def neuron(net: Net, node: Node) -> Value:
    """A layer of neurons: integrate, fire and reset in integers."""
    type_ = integer(net.bounds.state(node), node)
    scan = Scan(net, node)
    (current,) = net.inputs(node)
    if isinstance(node.operation, IntegrateWindow):
        v = scan.state("v", _window(net, node, current, type_), type_, node.type.shape)
        u = v.name
    else:
        v = scan.state("v", net.param(node, "v0", type_), type_, node.type.shape)
        arriving = scan.read(net.cast(current, type_), "I")
        u = scan.op("Add", [v.name, arriving], "integrated")
        if "bias" in node.params:
            u = scan.op("Add", [u, net.param(node, "bias", type_)], "biased")
    spikes = _FIRE[type(node.operation)](scan, u, type_)
    reset = scan.op("Mul", [spikes, net.param(node, "theta", type_)], "reset")
    v.after = scan.op("Sub", [u, reset], "v_next")
    return _finish(scan, u, spikes, v, type_)


def _finish(scan: Scan, u: str, spikes: str, v: State, type_: int) -> Value:
    net, node = scan.net, scan.node
    sent = spike_type(node.type.dtype.bounds[1])
    shape = node.type.shape
    scan.result(scan.op("Cast", [spikes], "spikes", to=sent), sent, shape)
    traced, proven = node.name in net.traced, net.bounds.proven(node)
    if traced:
        scan.result(scan.op("Identity", [v.after], "potentials"), type_, shape)
    if not proven:
        for potential in (u, v.after):
            scan.watch(potential, type_, state_type(net.graph, node).bounds, shape)
    found = scan.finish()
    if traced:
        net.potentials[node.name] = found[1]
    for watched in () if proven else found[-2:]:
        name = net.out.add("ReduceSum", [watched.name, net.out.shape(0)],
                           f"{node.name}/overflows", keepdims=0)  # fmt: skip
        net.overflows.append(name)
    return found[0]


def _window(net: Net, node: Node, current: Value, type_: int) -> str:
    """What a window neuron has gathered before it fires."""
    out, current = net.out, net.cast(current, type_)
    if current.timed:
        expect_exact_sum(net.bounds.reach(node.inputs[0]) * net.steps, node)
        inputs = [net.stacked(current), out.shape(0)]
        total = out.add("ReduceSum", inputs, f"{node.name}/gathered", keepdims=0)
    else:
        steps = out.scalar(net.steps, type_)
        total = out.add("Mul", [current.name, steps], f"{node.name}/gathered")
    start = net.array(node, "v0")
    if "bias" in node.params:
        start = start + net.steps * net.array(node, "bias")
    dtype = np.int32 if type_ == INT32 else np.int64
    doc = f"v0 + T bias of {node.name}"
    constant = out.constant(f"{node.name}.start", start.astype(dtype), doc)
    return out.add("Add", [total, constant], f"{node.name}/window")


def _integrate(scan: Scan, u: str, type_: int) -> str:
    fired = scan.op("GreaterOrEqual", [u, scan.net.param(scan.node, "theta", type_)], "fired")
    return scan.op("Cast", [fired], "s", to=type_)


def _signed(scan: Scan, u: str, type_: int) -> str:
    net, node = scan.net, scan.node
    taken = scan.op("Less", [u, net.param(node, "theta_neg", type_)], "below")
    if op_of(node, Neuron).sign is Sign.FREE:
        return _difference(scan, u, taken, type_)
    n = _memory(scan, type_)
    sent = scan.op("Greater", [n.name, net.out.scalar(0, type_)], "sent")
    taken = scan.op("And", [taken, sent], "taken")
    s = _difference(scan, u, taken, type_)
    n.after = scan.op("Add", [n.name, s], "n_next")
    return s


def _window_fire(scan: Scan, u: str, type_: int) -> str:
    if op_of(scan.node, Neuron).sign is Sign.UNSIGNED:
        return _integrate(scan, u, type_)
    taken = scan.op("Less", [u, scan.net.out.scalar(0, type_)], "taken")
    return _difference(scan, u, taken, type_)


def _difference(scan: Scan, u: str, taken: str, type_: int) -> str:
    """+1 where u reaches theta, less 1 where a spike is taken back."""
    positive = _integrate(scan, u, type_)
    negative = scan.op("Cast", [taken], "negative", to=type_)
    return scan.op("Sub", [positive, negative], "signed")


def _graded(scan: Scan, u: str, type_: int) -> str:
    net, node = scan.net, scan.node
    n = None if op_of(node, Neuron).sign is Sign.FREE else _memory(scan, type_)
    fire, payload = net.array(node, "fire"), net.out.scalar(0, type_)
    dtype = np.int32 if type_ == INT32 else np.int64
    for unit in (1 << k for k in range(op_of(node, IntegrateGraded).levels)):
        level = net.out.constant(f"{node.name}.fire*{unit}", (fire * unit).astype(dtype))
        below = net.out.constant(f"{node.name}.fire*-{unit}", (fire * -unit).astype(dtype))
        give = scan.op("GreaterOrEqual", [u, level], f"give{unit}")
        take = scan.op("Less", [u, below], f"take{unit}")
        if n is not None:
            less = [n.name, net.out.scalar(unit, type_)]
            sent = scan.op("GreaterOrEqual", less, f"sent{unit}")
            take = scan.op("And", [take, sent], f"taken{unit}")
        given = [give, net.out.scalar(unit, type_), payload]
        payload = scan.op("Where", given, f"p+{unit}")
        taken = [take, net.out.scalar(-unit, type_), payload]
        payload = scan.op("Where", taken, f"p-{unit}")
    if n is not None:
        n.after = scan.op("Add", [n.name, payload], "n_next")
    return payload


def _memory(scan: Scan, type_: int) -> State:
    """The net number of spikes that a neuron has sent."""
    return scan.state("n", scan.net.out.scalar(0, type_), type_, scan.node.type.shape)


_FIRE: dict[type[Op], Callable[[Scan, str, int], str]] = {
    Integrate: _integrate,
    IntegrateSigned: _signed,
    IntegrateGraded: _graded,
    IntegrateWindow: _window_fire,
}


def max_pool_count(net: Net, node: Node) -> Value:
    """Max pooling of the running sums, which float holds exactly."""
    _check_pool(net, node)
    scan, window = Scan(net, node), op_of(node, Pooling).window
    x = net.cast(net.inputs(node)[0], FLOAT)
    zero = net.out.scalar(0, FLOAT)
    n, m = scan.state("n", zero, FLOAT, x.shape), scan.state("m", zero, FLOAT, node.type.shape)
    n.after = scan.op("Add", [n.name, scan.read(x, "x")], "n_next")
    if window.kernel:
        m.after = scan.op(
            "MaxPool", [n.after], "m_next", kernel_shape=list(window.kernel),
            strides=list(window.strides), pads=list(window.pads), dilations=list(window.dilations),
        )  # fmt: skip
    else:  # windows without axes hold one neuron each
        m.after = scan.op("Identity", [n.after], "m_next")
    rise = scan.op("Sub", [m.after, m.name], "rise")
    sent = spike_type(node.type.dtype.bounds[1])
    scan.result(scan.op("Cast", [rise], "spikes", to=sent), sent, node.type.shape)
    if node.name in net.traced:
        counts = scan.op("Cast", [m.after], "potentials", to=INT32)
        scan.result(counts, INT32, node.type.shape)
    found = scan.finish()
    if node.name in net.traced:
        net.potentials[node.name] = found[1]
    return found[0]


def _check_pool(net: Net, node: Node) -> None:
    window, dtype = op_of(node, Pooling).window, net.graph[node.inputs[0]].type.dtype
    if not dtype.is_spike:
        raise BackendError(f"%{node.name} pools {dtype}; it needs spikes", loc=node.loc)
    rank = len(window.kernel)
    if any(pad >= size for pad, size in zip(window.pads, window.kernel * 2, strict=True)):
        raise BackendError(f"%{node.name}: pads as large as the window", loc=node.loc)
    if rank > 3:
        raise BackendError(f"%{node.name} pools {rank} axes; MaxPool knows up to 3", loc=node.loc)
    if net.steps * net.bounds.reach(node.inputs[0]) > _LARGEST_COUNT:
        raise BackendError(f"%{node.name}: counts beyond 2^24 are not exact", loc=node.loc)


def accumulate(net: Net, node: Node) -> Value:
    """The running sum of the current."""
    out, (current,) = net.out, net.inputs(node)
    type_ = integer(net.bounds.state(node), node)
    current = net.cast(current, type_)
    if "bias" in node.params:
        inputs = [current.name, net.param(node, "bias", type_)]
        name = out.add("Add", inputs, f"{node.name}/biased")
        current = Value(name, type_, current.shape, current.timed)
    axis = out.scalar(0, INT64)
    sums = out.add("CumSum", [net.stacked(current), axis], f"{node.name}/potentials",
                   **net.described(node))  # fmt: skip
    if not net.bounds.proven(node):
        low, high = node.type.dtype.bounds
        axes = [0, *range(2, len(node.type.shape) + 2)]
        net.overflows.append(count_outside(out, sums, type_, low, high, axes))
    value = net.flat(sums, type_, node.type.shape, f"{node.name}/by_step")
    net.potentials[node.name] = value
    return value


LAYERS: dict[type[Op], Callable[[Net, Node], Value]] = {
    **dict.fromkeys(_FIRE, neuron),
    Accumulate: accumulate,
    MaxPoolCount: max_pool_count,
}
"""Ops with state and what adds their operators."""
