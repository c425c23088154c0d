"""Interval arithmetic: what each element of each value can be, over all inputs at once."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

import numpy as np

from spikec.ir.analysis.cones import is_source
from spikec.ir.analysis.linear import run_exact
from spikec.ir.graph import Node, op_of
from spikec.ir.op import Interval, Params, Value


def propagate(
    nodes: Iterable[Node],
    emitted: Callable[[Node, Mapping[str, Interval]], Interval],
    params_of: Callable[[Node], Params],
    read: Callable[[Node, Interval], Interval] = lambda node, interval: interval,
) -> dict[str, Interval]:
    """Bounds of every value; integers are exact, Python's own where they may exceed 64 bits.

    Args:
        nodes: In topological order.
        emitted: What an input or a layer sends, given the bounds of what comes before it. Their
            element type, float or integer, is that of all bounds.
        params_of: Arrays of a linear node by role; `w` and, where it has one, `b`.
        read: What linear nodes meet of a node's value, given its bounds.

    Returns:
        Node name to (low, high).
    """
    bounds: dict[str, Interval] = {}
    met: dict[str, Interval] = {}
    for node in nodes:
        if is_source(node):
            low, high = emitted(node, bounds)
        else:
            inputs = [met[name] for name in node.inputs]
            low, high = _through(node, inputs, params_of(node))
        bounds[node.name] = _array(low), _array(high)
        met[node.name] = read(node, bounds[node.name])
    return bounds


def _array(value: Value) -> Value:
    """An array, also of one of Python's integers, which sums without axes are."""
    return np.asarray(value, getattr(value, "dtype", object))


def _through(node: Node, inputs: list[Interval], params: Params) -> Interval:
    """Bounds of a linear node's result: positive weights take the low end of their input low."""
    op = op_of(node)

    def run(values: list[Value], given: Params) -> Value:
        batch = [value[None] for value in values]
        whole = all(value.dtype.kind in "iuO" for value in batch)
        return _array((run_exact(op, batch, given) if whole else op.run(batch, given))[0])

    lows, highs = [low for low, _ in inputs], [high for _, high in inputs]
    if "w" not in params:
        return run(lows, {}), run(highs, {})
    shifts = {role: params[role] for role in ("exponent",) if role in params}
    constant = {role: params[role] for role in ("b",) if role in params}
    up = {"w": np.maximum(params["w"], 0), **shifts}
    down = {"w": np.minimum(params["w"], 0), **shifts}
    return (
        run(lows, {**up, **constant}) + run(highs, down),
        run(highs, {**up, **constant}) + run(lows, down),
    )
