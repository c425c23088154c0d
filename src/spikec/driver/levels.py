"""Whether spikes count the levels that a model was trained with."""

from __future__ import annotations

from collections import Counter

from spikec.compiler.calibration.layerwise import MOST_DIGITS
from spikec.compiler.calibration.thresholds import MOST_TRAINED_LEVELS
from spikec.ir import Graph, op_of
from spikec.ir.ops.activations.qcfs import Qcfs
from spikec.ir.ops.activations.quantize import Quantize

_PAYLOAD_BITS = 8
"""Of integer payloads, at most."""


def notes_of_levels(ann: Graph, counted: int, steps: int) -> list[str]:
    """What fits a model better whose spikes count other levels than it was trained with.

    Args:
        ann: The network at the end of stage ann.
        counted: Levels that a neuron's spikes count.
        steps: T.
    """
    activations = [op_of(node) for node in ann.nodes if op_of(node).activation]
    trained = Counter(op.levels for op in activations if isinstance(op, Qcfs))
    trained.update(op.hi - op.lo for op in activations if isinstance(op, Quantize))
    levels, many = max(trained.items(), key=lambda item: item[1], default=(counted, 0))
    if levels == counted:
        return []
    made = "trained with" if levels <= MOST_TRAINED_LEVELS else "quantised to"
    return [
        f"the model was {made} {levels} levels ({many} of {len(activations)} activations), and "
        f"spikes count {counted} in T = {steps}; exact is {' or '.join(_exact(levels))}"
    ]


def _exact(levels: int) -> list[str]:
    """The options with which spikes count so many levels, layer after layer."""
    bits = levels.bit_length()
    window = [f"--timesteps {levels} --schedule layerwise"]
    ways = window if levels <= MOST_TRAINED_LEVELS else []
    if levels == (1 << bits) - 1:
        ways += [f"--timesteps {bits} --code radix"] if 1 < bits <= MOST_DIGITS else []
        payload = f"--timesteps 1 --spikes graded --payload integer --payload-bits {bits}"
        ways += [payload] if 1 < bits <= _PAYLOAD_BITS else []
    return ways or window
