"""The loss budget of a compiled network: how much is lost, where, and what would help."""

from __future__ import annotations

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
    classes = ann.argmax(axis=1)
    agreement = {stage: float((y.argmax(axis=1) == classes).mean()) for stage, y in outputs.items()}
    layers = _layers(network, model, data)
    return Loss(
        samples=len(data),
        held_out=held is not None,
        agreement=agreement,
        standard_error=smoothed_error((outputs["int"].argmax(axis=1) != classes).astype(float)),
        relative_error={stage: _relative(y, ann) for stage, y in outputs.items()},
        outputs=_outputs(network, model, data, outputs, ann),
        most_rounded=_most_rounded(layers),
        worst_layers=sorted(layers, key=lambda v: v.error, reverse=True)[:WORST],
        advice=advice(network.graph.steps, agreement, len(data), layers),
    )


def advice(
    steps: int, agreement: dict[str, float], samples: int, layers: list[LayerLoss]
) -> list[str]:
    """Where the loss comes from and which options would lower it; nothing where little is lost."""
    lost, by_float = 1 - agreement["int"], 1 - agreement["float"]
    if lost < 1.5 / samples:  # one sample is no pattern
        return []
    if lost - by_float > by_float:
        worst = max(layers, key=lambda v: v.rounding, default=None)
        where = f", most in %{worst.layer}" if worst is not None else ""
        return [
            f"rounding to integers costs {lost - by_float:.1%} of the classes{where}: "
            "scale what enters and leaves this layer alike (standardised inputs, batch "
            "normalisation), or give it all its weight bits"
        ]
    worst = max(layers, key=lambda v: v.error - v.rounding, default=None)
    where = f", most in %{worst.layer}" if worst is not None else ""
    return [
        f"spikes instead of activations cost {by_float:.1%} of the classes{where}: "
        f"--timesteps {2 * steps}, --spikes graded, or more calibration samples (--samples)"
    ]


def _logits(graph: Graph, data: Dataset) -> Array:
    simulate = engine("fast")
    with fast_convolutions():
        return np.concatenate([
            logits(graph, simulate(graph, feeds, None, ()).readout, graph.steps)
            for _, feeds in encoded_blocks(graph, data, block_size("fast", graph))
        ])  # fmt: skip


def _outputs(
    network: Network, model: Model, data: Dataset, outputs: dict[str, Array], ann: Array
) -> list[OutputLoss]:
    """The errors of each output, which are side by side in all arrays."""
    graph = network.graph
    ends = np.cumsum([graph[name].type.size for name in graph.outputs])[:-1]

    def errors(y: Array) -> list[float]:
        parts = zip(np.split(y, ends, axis=1), np.split(ann, ends, axis=1), strict=True)
        return [deviation(part, wanted) for part, wanted in parts]

    names = network.stored.manifest["outputs"]
    rows = zip(names, errors(outputs["float"]), errors(outputs["int"]), strict=True)
    losses = [OutputLoss(*row) for row in rows]
    if not any(map(is_far, losses)):
        return losses
    rounded = errors(_rounded_logits(model.graph, weight_bits(graph), data))
    return [replace(out, rounded_error=error) for out, error in zip(losses, rounded, strict=True)]


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


def deviation(found: Array, wanted: Array) -> float:
    """Root mean square of the difference over the standard deviation of what is wanted."""
    spread = np.sqrt(np.mean((wanted - wanted.mean(axis=0)) ** 2))
    size = np.sqrt(np.mean(wanted**2))
    least = max(0.05 * float(size), 1e-30)  # of an output that hardly depends on the input
    return float(np.sqrt(np.mean((found - wanted) ** 2)) / max(float(spread), least))


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
