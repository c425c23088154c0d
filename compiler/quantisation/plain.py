"""Plain rounding of an ANN's weights: the yardstick for what rounding to integers costs."""

from __future__ import annotations

import numpy as np

from spikec.compiler.rewrites.fold import fold
from spikec.ir import Graph, GraphBuilder
from spikec.ir.op import Synapse
from spikec.ir.types import Array


def round_weights(ann: Graph, bits: int) -> Graph:
    """The ANN with weights of so many bits: a step for each output channel, no zero point.

    Batch normalisation and other constant factors are folded first, as in the compiled network;
    what scales each element alone keeps its factors.
    """
    builder = GraphBuilder(fold(ann)[0])
    for node in list(builder):
        if isinstance(node.operation, Synapse) and not node.operation.one_to_one:
            weights = builder.array(node, "w").astype(np.float64)
            rounded = _rounded(node.operation, weights, 2 ** (bits - 1) - 1)
            builder.replace(builder.declare(node, {"w": rounded.astype(np.float32)}))
    return builder.finish()


def _rounded(op: Synapse, weights: Array, largest: int) -> Array:
    peaks = np.abs(op.by_output(weights)).max(axis=1, initial=0.0)
    steps = np.where(peaks > 0, peaks / max(largest, 1), 1.0)
    whole = np.rint(op.scale_outputs(weights, 1 / steps))
    return op.scale_outputs(whole, steps)
