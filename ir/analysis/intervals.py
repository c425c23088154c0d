"""Interval arithmetic: what each element of each value can be, over all inputs at once."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

import numpy as np

from spikec.ir.analysis.cones import is_source
from spikec.ir.graph import Node, op_of
from spikec.ir.op import Interval, Params, Value


def propagate(
    nodes: Iterable[Node],
    emitted: Callable[[Node, Mapping[str, Interval]], Interval],
    params_of: Callable[[Node], Params],
) -> dict[str, Interval]:
    """Bounds of every value.

    Args:
        nodes: In topological order.
        emitted: What an input or a layer sends, given the bounds of what comes before it. Their
            element type, float or integer, is that of all bounds.
        params_of: Arrays of a linear node by role; `w` and, where it has one, `b`.

    Returns:
        Node name to (low, high).
    """
    bounds: dict[str, Interval] = {}
    for node in nodes:
        if is_source(node):
            bounds[node.name] = emitted(node, bounds)
        else:
            inputs = [bounds[name] for name in node.inputs]
            bounds[node.name] = _through(node, inputs, params_of(node))
    return bounds


def _through(node: Node, inputs: list[Interval], params: Params) -> Interval:
    """Bounds of a linear node's result: positive weights take the low end of their input low."""
    op = op_of(node)

    def run(values: list[Value], given: Params) -> Value:
        return op.run([value[None] for value in values], given)[0]

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
