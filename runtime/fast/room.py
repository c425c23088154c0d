"""How many bytes the values of a plan take while it runs."""

from __future__ import annotations

import math

import numpy as np

from spikec.runtime.fast.steps import Fire, Plan, Simple, Step, View
from spikec.runtime.fast.vector import LANES
from spikec.runtime.fast.words import words_shape

_PLAIN = 8
"""Bytes of an element of a plain array."""
_COUNTS = 2
"""Bytes of an element's counts: of its events, and of those of 1 or -1."""


def bytes_at_once(plan: Plan) -> int:
    """Bytes that a block takes where most is held: 32 samples, or one where values are images."""
    held: dict[str, int] = {}
    most = 1
    for step in plan.program:
        held[step.node.name] = _bytes(plan, step)
        most = max(most, sum(held.values()))
        for old in plan.last.get(step.node.name, ()):
            held.pop(old, None)
    return most


def _bytes(plan: Plan, step: Step) -> int:
    """What a step's result takes, with what is made of it for its readers."""
    node, samples = step.node, 1 if plan.images else LANES
    if isinstance(step, View):
        return 0
    elements = plan.steps * node.type.size
    total = _COUNTS * elements
    if isinstance(step, Simple) or (isinstance(step, Fire) and step.spec is None):
        total += _PLAIN * elements * samples
    if isinstance(step, Fire) and step.layer is not None:
        if step.keeps:  # for as long as the spikes, which is near enough
            total += (
                math.prod(step.layer.sums_shape(LANES)) * np.dtype(step.layer.sums_dtype).itemsize
            )
        kind = np.dtype(step.layer.out_dtype)
        return total + math.prod(step.layer.out_shape(LANES)) * kind.itemsize
    if node.name in plan.images:
        image = plan.images[node.name]
        return total + math.prod(image.shape(1)) * image.size
    if node.name in plan.codings:
        coding, space = plan.codings[node.name], (1, 1, *node.type.shape[1:])[-2:]
        shape = words_shape(coding, LANES, (space[0], space[1]), plan.steps)
        return total + math.prod(shape) * np.dtype(coding.dtype).itemsize
    return total
