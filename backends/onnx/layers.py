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
from spikec.ir.neuron import Neuron, Sign, step_weights, total_weight
from spikec.ir.op import Op, Stateful
from spikec.ir.ops.accumulate import Accumulate
from spikec.ir.ops.accumulate_radix import AccumulateRadix
from spikec.ir.ops.max_pool_count import MaxPoolCount
from spikec.ir.ops.max_pool_radix import MaxPoolRadix
from spikec.ir.ops.neurons.integrate import Integrate
from spikec.ir.ops.neurons.integrate_graded import IntegrateGraded
from spikec.ir.ops.neurons.integrate_integer import IntegrateInteger
from spikec.ir.ops.neurons.integrate_radix import IntegrateRadix
from spikec.ir.ops.neurons.integrate_signed import IntegrateSigned
from spikec.ir.ops.neurons.integrate_window import IntegrateWindow
from spikec.ir.ops.neurons.integrate_window_graded import IntegrateWindowGraded
from spikec.ir.ops.neurons.integrate_window_integer import IntegrateWindowInteger
from spikec.ir.types import Array
from spikec.ir.windows import Pooling
from spikec.runtime.interpreter import state_type

_LARGEST_COUNT = 1 << 24


def neuron(net: Net, node: Node) -> Value:
    """A layer of neurons: integrate, fire and reset in integers."""
    type_ = integer(net.bounds.state(node), node)
    scan = Scan(net, node)
    (current,) = net.inputs(node)
    op = op_of(node, Neuron)
    if op.gathers:
        start = (_digits if op.radix else _window)(net, node, current, type_)
        v = scan.state("v", start, type_, node.type.shape)
        u = v.name
    else:
        v = scan.state("v", net.param(node, "v0", type_), type_, node.type.shape)
        arriving = scan.read(net.cast(current, type_), "I")
        u = scan.op("Add", [v.name, arriving], "integrated")
        if "bias" in node.params:
            u = scan.op("Add", [u, net.param(node, "bias", type_)], "biased")
    unit = net.param(node, "theta", type_)
    if op.radix:
        digit = scan.sequence(step_weights(net.steps, radix=True), type_, "digit")
        unit = scan.op("Mul", [unit, digit], "unit")
    spikes = _FIRE[type(op)](scan, u, unit, type_)
    reset = scan.op("Mul", [spikes, unit], "reset")
    v.after = scan.op("Sub", [u, reset], "v_next")
    return _finish(scan, u, spikes, v, type_)


def _finish(scan: Scan, u: str, spikes: str, v: State, type_: int) -> Value:
    net, node = scan.net, scan.node
    sent = spike_type(node.type.dtype.bounds[1])
    shape = node.type.shape
    scan.result(scan.op("Cast", [spikes], "spikes", to=sent), sent, shape)
    traced = node.name in net.traced
    if traced:
        scan.result(scan.op("Identity", [v.after], "potentials"), type_, shape)
    results = _watched(scan, [u, v.after], type_)
    if traced:
        net.potentials[node.name] = results[1]
    return results[0]


def _watched(scan: Scan, potentials: list[str], type_: int, name: str = "") -> list[Value]:
    """Finish a layer; where it is not proven, potentials outside its width are counted."""
    net, node = scan.net, scan.node
    if net.bounds.proven(node):
        return scan.finish(name)
    for potential in potentials:
        scan.watch(potential, type_, state_type(net.graph, node).bounds, node.type.shape)
    results = scan.finish(name)
    for watched in results[-len(potentials) :]:
        total = net.out.add(
            "ReduceSum", [watched.name, net.out.shape(0)], f"{node.name}/overflows", keepdims=0
        )
        net.overflows.append(total)
    return results


def _window(net: Net, node: Node, current: Value, type_: int) -> str:
    """What a window neuron has gathered before it fires."""
    start = net.array(node, "v0") + net.steps * _bias(net, node)
    constant = _constant(net, f"{node.name}.start", start, type_, f"v0 + T bias of {node.name}")
    total = _gathered(net, node, current, type_)
    return net.out.add("Add", [total, constant], f"{node.name}/window")


def _digits(net: Net, node: Node, current: Value, type_: int) -> str:
    """The same where what arrives first counts most, and v0 joins the sum on its side of 0."""
    out = net.out
    drift = total_weight(net.steps, radix=True) * _bias(net, node)
    doc = f"(2^T - 1) bias of {node.name}"
    constant = _constant(net, f"{node.name}.drift", drift, type_, doc)
    total = _gathered(net, node, current, type_)
    total = out.add("Add", [total, constant], f"{node.name}/sum")
    v0 = net.param(node, "v0", type_)
    start = out.add("Add", [total, v0], f"{node.name}/window")
    if op_of(node, Neuron).sign is Sign.UNSIGNED:
        return start
    below = out.add("Less", [total, out.scalar(0, type_)], f"{node.name}/below")
    lower = out.add("Sub", [total, v0], f"{node.name}/lower")
    return out.add("Where", [below, lower, start], f"{node.name}/start")


def _gathered(net: Net, node: Node, current: Value, type_: int) -> str:
    """The current of all steps, each by its weight."""
    out, current, radix = net.out, net.cast(current, type_), op_of(node, Neuron).radix
    weight = total_weight(net.steps, radix=radix)
    if not current.timed:
        return out.add("Mul", [current.name, out.scalar(weight, type_)], f"{node.name}/gathered")
    expect_exact_sum(net.bounds.reach(node.inputs[0]) * weight, node)
    stacked = net.stacked(current)
    if radix:
        weights = step_weights(net.steps, radix=True).reshape(-1, *(1,) * (len(current.shape) + 1))
        name = f"weights{list(weights.shape)}:{type_}"
        constant = _constant(net, name, weights, type_, "what a digit of each step is worth")
        stacked = out.add("Mul", [stacked, constant], f"{node.name}/weighted")
    return out.add("ReduceSum", [stacked, out.shape(0)], f"{node.name}/gathered", keepdims=0)


def _bias(net: Net, node: Node) -> Array:
    return net.array(node, "bias") if "bias" in node.params else np.zeros((), np.int64)


def _constant(net: Net, name: str, array: Array, type_: int, doc: str = "") -> str:
    """Integers that a layer computes with."""
    return net.out.constant(name, array.astype(np.int32 if type_ == INT32 else np.int64), doc)


def _integrate(scan: Scan, u: str, unit: str, type_: int) -> str:
    fired = scan.op("GreaterOrEqual", [u, unit], "fired")
    return scan.op("Cast", [fired], "s", to=type_)


def _signed(scan: Scan, u: str, unit: str, type_: int) -> str:
    net, node = scan.net, scan.node
    taken = scan.op("Less", [u, net.param(node, "theta_neg", type_)], "below")
    if op_of(node, Neuron).sign is Sign.FREE:
        return _difference(scan, u, unit, taken, type_)
    n = _memory(scan, type_)
    sent = scan.op("Greater", [n.name, net.out.scalar(0, type_)], "sent")
    taken = scan.op("And", [taken, sent], "taken")
    s = _difference(scan, u, unit, taken, type_)
    n.after = scan.op("Add", [n.name, s], "n_next")
    return s


def _window_fire(scan: Scan, u: str, unit: str, type_: int) -> str:
    if op_of(scan.node, Neuron).sign is Sign.UNSIGNED:
        return _integrate(scan, u, unit, type_)
    taken = scan.op("Less", [u, scan.net.out.scalar(0, type_)], "taken")
    return _difference(scan, u, unit, taken, type_)


def _digit(scan: Scan, u: str, unit: str, type_: int) -> str:
    """The binary digit of the step."""
    if op_of(scan.node, Neuron).sign is Sign.UNSIGNED:
        return _integrate(scan, u, unit, type_)
    below = scan.op("Neg", [unit], "-unit")
    return _difference(scan, u, unit, scan.op("LessOrEqual", [u, below], "taken"), type_)


def _difference(scan: Scan, u: str, unit: str, taken: str, type_: int) -> str:
    """+1 where u reaches the threshold, less 1 where a spike is taken back."""
    positive = _integrate(scan, u, unit, type_)
    negative = scan.op("Cast", [taken], "negative", to=type_)
    return scan.op("Sub", [positive, negative], "signed")


def _graded(scan: Scan, u: str, unit: str, type_: int) -> str:
    net, node = scan.net, scan.node
    n = None if op_of(node, Neuron).sign is Sign.FREE else _memory(scan, type_)
    fire, payload = net.array(node, "fire"), net.out.scalar(0, type_)
    for size in (1 << k for k in range(op_of(node, IntegrateGraded).levels)):
        level = _constant(net, f"{node.name}.fire*{size}", fire * size, type_)
        below = _constant(net, f"{node.name}.fire*-{size}", fire * -size, type_)
        give = scan.op("GreaterOrEqual", [u, level], f"give{size}")
        take = scan.op("Less", [u, below], f"take{size}")
        if n is not None:
            less = [n.name, net.out.scalar(size, type_)]
            sent = scan.op("GreaterOrEqual", less, f"sent{size}")
            take = scan.op("And", [take, sent], f"taken{size}")
        given = [give, net.out.scalar(size, type_), payload]
        payload = scan.op("Where", given, f"p+{size}")
        taken = [take, net.out.scalar(-size, type_), payload]
        payload = scan.op("Where", taken, f"p-{size}")
    if n is not None:
        n.after = scan.op("Add", [n.name, payload], "n_next")
    return payload


def _integer(scan: Scan, u: str, unit: str, type_: int) -> str:
    """How many thresholds there are: `floor(u / theta)`, since Div rounds towards 0, clipped."""
    net, op = scan.net, op_of(scan.node, IntegrateInteger)
    rest = scan.op("Mod", [u, unit], "rest")
    whole = scan.op("Sub", [u, rest], "whole")
    units = scan.op("Div", [whole, unit], "units")
    low, high = (net.out.scalar(limit, type_) for limit in op.limits)
    if op.sign is not Sign.TAKES_BACK:
        return _smaller(scan, _larger(scan, units, low, "least"), high, "p")
    n = _memory(scan, type_)
    low = _larger(scan, scan.op("Neg", [n.name], "-n"), low, "low")
    payload = _smaller(scan, _larger(scan, units, low, "least"), high, "p")
    n.after = scan.op("Add", [n.name, payload], "n_next")
    return payload


def _larger(scan: Scan, a: str, b: str, part: str) -> str:
    """By comparison: onnxruntime 1.31's Min and Max err where int64 differ beyond 31 bits."""
    return scan.op("Where", [scan.op("Greater", [a, b], f"{part}?"), a, b], part)


def _smaller(scan: Scan, a: str, b: str, part: str) -> str:
    return scan.op("Where", [scan.op("Less", [a, b], f"{part}?"), a, b], part)


def _memory(scan: Scan, type_: int) -> State:
    """The net number of spikes that a neuron has sent."""
    return scan.state("n", scan.net.out.scalar(0, type_), type_, scan.node.type.shape)


_FIRE: dict[type[Op], Callable[[Scan, str, str, int], str]] = {
    Integrate: _integrate,
    IntegrateSigned: _signed,
    IntegrateGraded: _graded,
    IntegrateInteger: _integer,
    IntegrateWindow: _window_fire,
    IntegrateWindowGraded: _graded,
    IntegrateWindowInteger: _integer,
    IntegrateRadix: _digit,
}
"""What a layer sends, from the potential u and what one spike of the step takes from it."""


def max_pool(net: Net, node: Node) -> Value:
    """Max pooling of the running sums, or of the numbers that digits spell: exact in float."""
    _check_pool(net, node)
    op = op_of(node, MaxPoolCount)
    scan, window = Scan(net, node), op.window
    x = net.cast(net.inputs(node)[0], FLOAT)
    zero = net.out.scalar(0, FLOAT)
    n, m = scan.state("n", zero, FLOAT, x.shape), scan.state("m", zero, FLOAT, node.type.shape)
    count, best = n.name, m.name
    if op.radix:
        count, best = (
            scan.op("Add", [name, name], f"2{part}") for part, name in (("n", count), ("m", best))
        )
    n.after = scan.op("Add", [count, scan.read(x, "x")], "n_next")
    if window.kernel:
        m.after = scan.op(
            "MaxPool",
            [n.after],
            "m_next",
            kernel_shape=list(window.kernel),
            strides=list(window.strides),
            pads=list(window.pads),
            dilations=list(window.dilations),
        )
    else:  # windows without axes hold one neuron each
        m.after = scan.op("Identity", [n.after], "m_next")
    rise = scan.op("Sub", [m.after, best], "rise")
    sent = spike_type(node.type.dtype.bounds[1])
    scan.result(scan.op("Cast", [rise], "spikes", to=sent), sent, node.type.shape)
    if node.name in net.traced:
        counts = scan.op("Cast", [m.after], "potentials", to=INT32)
        scan.result(counts, INT32, node.type.shape)
    results = scan.finish()
    if node.name in net.traced:
        net.potentials[node.name] = results[1]
    return results[0]


def _check_pool(net: Net, node: Node) -> None:
    window, dtype = op_of(node, Pooling).window, net.graph[node.inputs[0]].type.dtype
    if not dtype.is_spike:
        raise BackendError(f"%{node.name} pools {dtype}; it needs spikes", loc=node.loc)
    if dtype.bits > node.type.dtype.bits:  # what leaves its width would go unseen
        raise BackendError(f"%{node.name} pools {dtype} as {node.type.dtype}", loc=node.loc)
    rank = len(window.kernel)
    if any(pad >= size for pad, size in zip(window.pads, window.kernel * 2, strict=True)):
        raise BackendError(f"%{node.name}: pads as large as the window", loc=node.loc)
    if rank > 3:
        raise BackendError(f"%{node.name} pools {rank} axes; MaxPool knows up to 3", loc=node.loc)
    weight = total_weight(net.steps, radix=op_of(node, Stateful).radix)
    if weight * net.bounds.reach(node.inputs[0]) > _LARGEST_COUNT:
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
    sums = out.add(
        "CumSum", [net.stacked(current), axis], f"{node.name}/potentials", **net.described(node)
    )
    if not net.bounds.proven(node):
        low, high = node.type.dtype.bounds
        axes = [0, *range(2, len(node.type.shape) + 2)]
        net.overflows.append(count_outside(out, sums, type_, low, high, axes))
    value = net.flat(sums, type_, node.type.shape, f"{node.name}/by_step")
    net.potentials[node.name] = value
    return value


def accumulate_radix(net: Net, node: Node) -> Value:
    """The number that the current of all steps spells so far."""
    (current,) = net.inputs(node)
    type_ = integer(net.bounds.state(node), node)
    scan = Scan(net, node)
    v = scan.state("v", net.out.scalar(0, type_), type_, node.type.shape)
    twice = scan.op("Add", [v.name, v.name], "2v")
    v.after = scan.op("Add", [twice, scan.read(net.cast(current, type_), "I")], "v_next")
    if "bias" in node.params:
        v.after = scan.op("Add", [v.after, net.param(node, "bias", type_)], "biased")
    scan.result(scan.op("Identity", [v.after], "potentials"), type_, node.type.shape)
    results = _watched(scan, [v.after], type_, f"{node.name}/by_step")
    net.potentials[node.name] = results[0]
    return results[0]


LAYERS: dict[type[Op], Callable[[Net, Node], Value]] = {
    **dict.fromkeys(_FIRE, neuron),
    Accumulate: accumulate,
    AccumulateRadix: accumulate_radix,
    MaxPoolCount: max_pool,
    MaxPoolRadix: max_pool,
}
"""Ops with state and what adds their operators."""
