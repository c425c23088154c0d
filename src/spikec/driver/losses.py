"""The loss budget of a compiled network: how much is lost, where, and what would help."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from spikec.backends import engine
from spikec.compiler.onnx.convolution import fast_convolutions
from spikec.compiler.pipeline import Progress
from spikec.compiler.quantisation.plain import round_weights
from spikec.driver.blocks import BLOCK, block_size, encoded_blocks, logits, quiet, slices
from spikec.driver.comparing import compare
from spikec.driver.gate import is_far
from spikec.driver.judging import smoothed_error
from spikec.driver.measures import Output, agreement, deviation, losses
from spikec.driver.model import Model
from spikec.driver.network import Network
from spikec.ir import Graph
from spikec.ir.op import Synapse
from spikec.report.schema import LayerLoss, Loss, OutputLoss
from spikec.runtime.check import trace_bytes
from spikec.runtime.data import Dataset
from spikec.runtime.fast.walk import affordable
from spikec.runtime.interpreter import forward

Array = NDArray[np.float64]
SAMPLES = 256
"""Held-out samples that are used at most."""
FEW = 16
"""Held-out samples that are needed at least; else the calibration samples are measured."""
TRACED = 16
"""Samples on which layers are compared."""
WORST = 3
"""Layers that are named."""


def measure_loss(
    network: Network,
    model: Model,
    drawn: Dataset,
    rest: Dataset | None,
    progress: Progress = quiet,
) -> Loss:
    """ANN against float and integer network on samples that calibration did not see.

    Args:
        network: What was compiled.
        model: The ANN.
        drawn: The calibration samples.
        rest: Others; None or too few, and the calibration samples are measured themselves.
        progress: Told about it.
    """
    held = rest if rest is not None and len(rest) >= FEW else None
    data = (drawn if held is None else held).head(affordable(network.graph, SAMPLES))
    ann = model.logits(data.feeds)
    outputs = {stage: _logits(network.stage(stage), data) for stage in ("float", "int")}
    progress("measure the loss", len(data), len(data))
    judged = network.outputs()
    lost = {stage: losses(judged, y, ann) for stage, y in outputs.items()}
    layers = _layers(network, model, data)
    return Loss(
        samples=len(data),
        held_out=held is not None,
        agreement={stage: agreement(judged, y, ann) for stage, y in outputs.items()},
        standard_error=smoothed_error(lost["int"]),
        relative_error={stage: _relative(y, ann) for stage, y in outputs.items()},
        outputs=_outputs(network, model, data, outputs, ann, judged),
        most_rounded=_most_rounded(layers),
        worst_layers=sorted(layers, key=lambda v: v.error, reverse=True)[:WORST],
        advice=advice(
            network.graph.steps,
            {stage: float(values.mean()) for stage, values in lost.items()},
            len(data),
            layers,
            _lost_of(judged),
            framed=bool(data.frames),
        ),
    )


def _lost_of(outputs: Sequence[Output]) -> str:
    """What a loss is a share of."""
    kinds = {out.metric for out in outputs}
    if kinds == {"argmax"}:
        return "classes"
    return "outputs' deviation" if kinds == {"relative"} else "outputs (classes and deviations)"


def advice(
    steps: int,
    losses: dict[str, float],
    samples: int,
    layers: list[LayerLoss],
    what: str = "classes",
    *,
    framed: bool = False,
) -> list[str]:
    """Where the loss comes from and which options would lower it; nothing where little is lost."""
    lost, by_float = losses["int"], losses["float"]
    if lost < 1.5 / samples:  # one sample is no pattern
        return []
    if lost - by_float > by_float:
        worst = max(layers, key=lambda v: v.rounding, default=None)
        where = f", most in %{worst.layer}" if worst is not None else ""
        return [
            f"rounding to integers costs {lost - by_float:.1%} of the {what}{where}: "
            "scale what enters and leaves this layer alike (standardised inputs, batch "
            "normalisation), or give it all its weight bits"
        ]
    worst = max(layers, key=lambda v: v.error - v.rounding, default=None)
    where = f", most in %{worst.layer}" if worst is not None else ""
    longer = "" if framed else f"--timesteps {2 * steps}, "
    return [
        f"spikes instead of activations cost {by_float:.1%} of the {what}{where}: "
        f"{longer}--spikes graded, or more calibration samples (--samples)"
    ]


def _logits(graph: Graph, data: Dataset) -> Array:
    simulate = engine("fast")
    with fast_convolutions():
        return np.concatenate(
            [
                logits(graph, simulate(graph, feeds, None, ()).readout, graph.steps)
                for _, feeds in encoded_blocks(graph, data, block_size("fast", graph))
            ]
        )


def _outputs(
    network: Network,
    model: Model,
    data: Dataset,
    given: dict[str, Array],
    ann: Array,
    judged: Sequence[Output],
) -> list[OutputLoss]:
    """The errors of each output, which are side by side in all arrays."""

    def errors(y: Array) -> list[float]:
        return [deviation(out.part(y), out.part(ann)) for out in judged]

    rows = zip(judged, errors(given["float"]), errors(given["int"]), strict=True)
    outputs = [OutputLoss(out.name, *row) for out, *row in rows]
    if not any(map(is_far, outputs)):
        return outputs
    rounded = errors(_rounded_logits(model.graph, weight_bits(network.graph), data))
    return [replace(out, rounded_error=error) for out, error in zip(outputs, rounded, strict=True)]


def weight_bits(graph: Graph) -> int:
    """Bits of the widest weights of an integer network."""
    synapses = (node for node in graph.nodes if isinstance(node.operation, Synapse))
    return max((graph.params[node.params["w"]].type.dtype.bits for node in synapses), default=1)


def _rounded_logits(ann: Graph, bits: int, data: Dataset) -> Array:
    """Outputs of the ANN with weights of so many bits."""
    rounded, parts = round_weights(ann, bits), []
    with fast_convolutions():
        for _, feeds in slices(data, BLOCK):
            values = forward(rounded, feeds)
            parts.append([values[name] for name in rounded.outputs])
    outputs = (np.concatenate(blocks) for blocks in zip(*parts, strict=True))
    return np.concatenate([y.reshape(len(data), -1) for y in outputs], axis=1)


def _most_rounded(layers: list[LayerLoss]) -> str | None:
    """The layer whose rounding exceeds that of all layers before it by most."""
    before, gains = 0.0, []
    for layer in layers:
        gains.append((layer.rounding - before, layer.layer))
        before = max(before, layer.rounding)
    return max(gains)[1] if gains else None


def _relative(outputs: Array, ann: Array) -> float:
    return float(np.linalg.norm(outputs - ann) / max(float(np.linalg.norm(ann)), 1e-30))


def _layers(network: Network, model: Model, data: Dataset) -> list[LayerLoss]:
    """Layers against the ANN on a few samples.

    None where even a few traces are too large, or no layer stands for a value of the ANN.
    """
    if trace_bytes(network.graph) * TRACED > 1 << 28 or not network.counterparts:
        return []
    return [
        LayerLoss(row.layer, row.int_error, max(0.0, row.int_error - (row.float_error or 0.0)))
        for row in compare(network, model, data.head(TRACED))
    ]
