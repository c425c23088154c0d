"""Linear nodes run on all steps at once, exactly where they run on integers."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence

import numpy as np

from spikec.ir.exact import LARGEST, magnitude, unbounded
from spikec.ir.graph import Node, op_of
from spikec.ir.op import Op, Params, Value, steps_of

_GAINS = ("w", "exponent")
"""Params that a linear op multiplies its inputs with."""


def run_linear(node: Node, inputs: Sequence[Value], params: Params) -> Value:
    """The value of a stateless node in every step.

    A linear op knows no steps: they are samples to it.

    Args:
        node: The node.
        inputs: Its inputs (steps, batch, *shape), or (1, batch, *shape) where constant over time.
        params: Arrays by role.

    Returns:
        Of integers the exact result, Python's integers where it may exceed 64 bits:
        (steps, batch, *shape), or (1, batch, *shape) where no input changes over time.
    """
    length = max(map(len, inputs))
    flat = [steps_of(x, length).reshape(-1, *x.shape[2:]) for x in inputs]
    whole = all(x.dtype.kind in "iu" for x in flat)
    value = run_exact(op_of(node), flat, params) if whole else op_of(node).run(flat, params)
    return value.reshape(length, -1, *value.shape[1:])


def run_cone(
    nodes: Iterable[Node], values: Mapping[str, Value], params_of: Callable[[Node], Params]
) -> dict[str, Value]:
    """The values of linear nodes, given those of what they start from, by name."""
    computed = dict(values)
    for node in nodes:
        inputs = [np.asarray(computed[name]) for name in node.inputs]
        computed[node.name] = run_linear(node, inputs, params_of(node))
    return computed


def sum_bound(op: Op, inputs: Sequence[Value], params: Params) -> float:
    """Bound of every partial sum of a linear op, in any order: its meaning on absolute values."""
    reach = max(magnitude(x) for x in inputs)
    ones = [np.ones((1, *x.shape[1:])) for x in inputs]
    weights = {role: params[role].astype(np.float64) for role in _GAINS if role in params}
    weights = {role: np.abs(array) for role, array in weights.items()}
    gain = float(op.run(ones, weights).max(initial=0))
    return reach * gain + (magnitude(params["b"]) if "b" in params else 0)


def run_exact(op: Op, inputs: Sequence[Value], params: Params) -> Value:
    """The exact result of a linear op on integers: int64, or Python's where sums exceed it."""
    if op.result != "same" and sum_bound(op, inputs, params) >= LARGEST:
        inputs = [unbounded(x) for x in inputs]
        params = {role: unbounded(array) for role, array in params.items()}
    return op.run(inputs, params)
