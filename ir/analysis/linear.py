"""Linear nodes run on all steps at once."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence

import numpy as np

from spikec.ir.exact import run_exact
from spikec.ir.graph import Node, op_of
from spikec.ir.op import Params, Value, steps_of


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
