"""Stateful operations as rules, and the spikes that they send."""

from __future__ import annotations

from collections.abc import Callable

from spikec.backends.lowering.records import (
    Accumulate,
    Integers,
    Integrate,
    IntegrateGraded,
    IntegrateInteger,
    IntegrateRadix,
    IntegrateSigned,
    IntegrateWindow,
    Range,
    Rule,
    Spikes,
)
from spikec.backends.lowering.synapses import constant
from spikec.ir import BackendError, Graph, Node, op_of
from spikec.ir.exact import LARGEST, magnitude
from spikec.ir.neuron import Neuron
from spikec.ir.ops.neurons import (
    integrate_graded,
    integrate_integer,
    integrate_radix,
    integrate_signed,
    integrate_window,
)

UNIT, SIGNED = Spikes((1,)), Spikes((1, -1))


def _param(graph: Graph, node: Node, role: str) -> Integers:
    """A param; raises BackendError where its multiples by payloads are beyond 62 bits."""
    array = graph.array(node, role)
    if magnitude(array) * op_of(node, Neuron).payload.bounds[1] >= LARGEST:
        raise BackendError(f"%{node.name} has a {role} beyond 62 bits", loc=node.loc)
    return constant(array, node.type.shape)


def _integrate(graph: Graph, node: Node) -> Rule:
    return Integrate(_param(graph, node, "theta"), _param(graph, node, "v0"))


def _signed(graph: Graph, node: Node) -> Rule:
    theta, neg = _param(graph, node, "theta"), _param(graph, node, "theta_neg")
    if int(neg.max()) > int(theta.min()):
        raise BackendError(f"%{node.name} has theta_neg above theta", loc=node.loc)
    free = op_of(node, integrate_signed.IntegrateSigned).free
    return IntegrateSigned(theta, _param(graph, node, "v0"), neg, free)


def _graded(graph: Graph, node: Node) -> Rule:
    theta, v0, fire = (_param(graph, node, role) for role in ("theta", "v0", "fire"))
    if int(fire.min()) < 1:
        raise BackendError(f"%{node.name} has a firing level below 1", loc=node.loc)
    op = op_of(node, integrate_graded.IntegrateGraded)
    return IntegrateGraded(theta, v0, fire, op.levels, op.free, op.gathers)


def _window(graph: Graph, node: Node) -> Rule:
    theta, v0 = _positive(graph, node), _param(graph, node, "v0")
    return IntegrateWindow(theta, v0, op_of(node, integrate_window.IntegrateWindow).free)


def _integer(graph: Graph, node: Node) -> Rule:
    op = op_of(node, integrate_integer.IntegrateInteger)
    theta, v0 = _positive(graph, node), _param(graph, node, "v0")
    return IntegrateInteger(theta, v0, *op.limits, op.free, op.gathers)


def _radix(graph: Graph, node: Node) -> Rule:
    free = op_of(node, integrate_radix.IntegrateRadix).free
    return IntegrateRadix(_positive(graph, node), _param(graph, node, "v0"), free)


def _positive(graph: Graph, node: Node) -> Integers:
    theta = _param(graph, node, "theta")
    if int(theta.min()) < 1:
        raise BackendError(f"%{node.name} = {node.op} has a threshold below 1", loc=node.loc)
    return theta


RULES: dict[str, Callable[[Graph, Node], Rule]] = {
    "accumulate": lambda graph, node: Accumulate(radix=False),
    "accumulate_radix": lambda graph, node: Accumulate(radix=True),
    "integrate": _integrate,
    "integrate_graded": _graded,
    "integrate_integer": _integer,
    "integrate_radix": _radix,
    "integrate_signed": _signed,
    "integrate_window": _window,
    "integrate_window_graded": _graded,
    "integrate_window_integer": _integer,
}
"""What makes a rule of a stateful node."""


def sent(rule: Rule) -> Spikes | None:
    """The spikes of a rule; None for a rule that keeps numbers."""
    match rule:
        case Integrate():
            return UNIT
        case IntegrateSigned():
            return SIGNED
        case IntegrateWindow(free=free) | IntegrateRadix(free=free):
            return SIGNED if free else UNIT
        case IntegrateGraded(levels=levels):
            powers = tuple(1 << k for k in range(levels))
            return Spikes((*powers, *(-p for p in powers)))
        case IntegrateInteger(low=low, high=high):
            return digits(max(high, -low - 1), signed=low < 0)
        case _:
            return None


def digits(most: int, *, signed: bool) -> Spikes:
    """Integers up to `most` in binary digits, in two's complement where they may be negative."""
    count = most.bit_length()
    powers = tuple(1 << k for k in range(count))
    return Spikes((*powers, -(1 << count)) if signed else powers, exclusive=False)


def pooled(source: Spikes) -> Spikes:
    """The spikes of a max pooling: any integer up to the largest payload."""
    most = max(abs(p) for p in source.payloads)
    return digits(most, signed=True) if source.exclusive and most > 1 else source


def reset(rule: Rule, steps: int) -> Range:
    """What firing adds to the potential."""
    spikes, theta = sent(rule), getattr(rule, "theta", None)
    if spikes is None or theta is None:
        return Range(0, 0)
    top = int(abs(theta).max(initial=0))
    top = top << (steps - 1) if isinstance(rule, IntegrateRadix) else top
    return Range(-top * spikes.range.high, -top * spikes.range.low)


def start(rule: Rule) -> Range:
    """The potential before the first step."""
    v0 = getattr(rule, "v0", None)
    return Range(0, 0) if v0 is None else Range.of(v0)


def gathered(rule: Rule, total: Range, steps: int) -> Range:
    """All potentials while input is gathered, from sums `total` of single steps."""
    weight = (1 << steps) - 1 if isinstance(rule, IntegrateRadix) else steps
    sums = Range(total.low * weight, total.high * weight)
    held = start(rule)
    if isinstance(rule, IntegrateRadix) and rule.free:  # v0 joins on either side
        held = held.hull(Range(-held.high, -held.low))
    return sums.hull(sums + held)
