"""Stateful operations as rules, and the spikes that they send."""

from __future__ import annotations

from collections.abc import Callable

from spikec.backends.lowering.records import (
    Accumulate,
    Integers,
    Integrate,
    IntegrateGraded,
    IntegrateSigned,
    IntegrateWindow,
    Range,
    Rule,
    Spikes,
)
from spikec.backends.lowering.synapses import constant
from spikec.ir import BackendError, Graph, Node, op_of
from spikec.ir.ops.neurons import integrate_graded, integrate_signed, integrate_window

UNIT, SIGNED = Spikes((1,)), Spikes((1, -1))


def _param(graph: Graph, node: Node, role: str) -> Integers:
    return constant(graph.array(node, role), node.type.shape)


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
    return IntegrateGraded(theta, v0, fire, op.levels, op.free)


def _window(graph: Graph, node: Node) -> Rule:
    theta, v0 = _param(graph, node, "theta"), _param(graph, node, "v0")
    if int(theta.min()) < 1:
        raise BackendError(f"%{node.name} has a threshold below 1", loc=node.loc)
    return IntegrateWindow(theta, v0, op_of(node, integrate_window.IntegrateWindow).free)


RULES: dict[str, Callable[[Graph, Node], Rule]] = {
    "accumulate": lambda graph, node: Accumulate(),
    "integrate": _integrate,
    "integrate_graded": _graded,
    "integrate_signed": _signed,
    "integrate_window": _window,
}
"""What makes a rule of a stateful node."""


def sent(rule: Rule) -> Spikes | None:
    """The spikes of a rule; None for a rule that keeps numbers."""
    match rule:
        case Integrate():
            return UNIT
        case IntegrateSigned():
            return SIGNED
        case IntegrateWindow(free=free):
            return SIGNED if free else UNIT
        case IntegrateGraded(levels=levels):
            powers = tuple(1 << k for k in range(levels))
            return Spikes((*powers, *(-p for p in powers)))
        case _:
            return None


def pooled(source: Spikes) -> Spikes:
    """The spikes of a max pooling: any integer up to the largest payload, in binary digits."""
    most = max(abs(p) for p in source.payloads)
    if most == 1:
        return source
    digits = (most if source.exclusive else source.range.high // 2 + 1).bit_length()
    powers = tuple(1 << k for k in range(digits))
    return Spikes((*powers, -(1 << digits)), exclusive=False)


def reset(rule: Rule) -> Range:
    """What firing adds to the potential."""
    spikes, theta = sent(rule), getattr(rule, "theta", None)
    if spikes is None or theta is None:
        return Range(0, 0)
    top = int(abs(theta).max(initial=0))
    return Range(-top * spikes.range.high, -top * spikes.range.low)


def start(rule: Rule) -> Range:
    """The potential before the first step."""
    v0 = getattr(rule, "v0", None)
    return Range(0, 0) if v0 is None else Range.of(v0)
