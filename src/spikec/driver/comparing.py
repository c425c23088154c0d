"""ANN against spiking network, layer by layer."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from spikec.backends import engine
from spikec.compiler.pipeline import Progress
from spikec.driver.blocks import quiet, slices
from spikec.driver.evaluating import same_model
from spikec.driver.model import Model
from spikec.driver.network import Network
from spikec.ir import Graph, Node, UsageError, spread
from spikec.ir.types import Array
from spikec.runtime.check import traced_block
from spikec.runtime.coding import decode, encode
from spikec.runtime.data import Dataset
from spikec.runtime.interpreter import Simulation, evaluate


@dataclass(frozen=True, slots=True)
class LayerError:
    """How far one layer is from the ANN.

    Attributes:
        layer: The layer.
        onnx_node: The ANN's node that it stands for.
        float_error: Squared error of the rates of the float network, relative to the activation.
        int_error: The same of the integer network.
        correlation: Of the integer network's rates with the activation.
    """

    layer: str
    onnx_node: str | None
    float_error: float | None
    int_error: float
    correlation: float


@dataclass(slots=True)
class _Sums:
    """Sums over all elements and samples of a layer: ANN x, network y."""

    n: float = 0.0
    x: float = 0.0
    y: float = 0.0
    xx: float = 0.0
    yy: float = 0.0
    xy: float = 0.0

    def add(self, x: Array, y: Array) -> None:
        x, y = x.reshape(-1).astype(float), y.reshape(-1).astype(float)
        self.n += len(x)
        self.x, self.y = self.x + x.sum(), self.y + y.sum()
        self.xx, self.yy, self.xy = self.xx + x @ x, self.yy + y @ y, self.xy + x @ y

    @property
    def error(self) -> float:
        return float((self.xx - 2 * self.xy + self.yy) / max(self.xx, 1e-30))

    @property
    def correlation(self) -> float:
        spread_x = self.n * self.xx - self.x**2
        spread_y = self.n * self.yy - self.y**2
        together = self.n * self.xy - self.x * self.y
        return float(together / np.sqrt(max(spread_x * spread_y, 1e-30)))


def compare(
    network: Network, model: Model, data: Dataset, progress: Progress = quiet
) -> list[LayerError]:
    """Run ANN, float and integer network on the same samples and compare their layers.

    Raises:
        UsageError: when the artifact was compiled from another model.
    """
    same_model(network, model)
    data = data.first_frames(network.graph.steps)
    pairs = network.counterparts
    if not pairs:
        raise UsageError(
            "the artifact does not say which layer stands for which value of the ANN",
            hint="compile the model again",
        )
    floats = network.stored.float_graph
    graphs = {"int": network.graph} if floats is None else {"int": network.graph, "float": floats}
    sums = {stage: {name: _Sums() for name in pairs} for stage in graphs}
    size = traced_block(*graphs.values())
    for start, feeds in slices(data, size):
        ann = activations(model.graph, feeds, set(pairs.values()))
        for stage, graph in graphs.items():
            run = engine("fast")(graph, encode(graph, feeds).feeds, None, list(pairs))
            for layer, value in pairs.items():
                sums[stage][layer].add(ann[value], rates(graph, floats, graph[layer], run))
        progress("compare", min(start + size, len(data)), len(data))
    return [
        LayerError(
            layer=name,
            onnx_node=network.graph[name].loc,
            float_error=sums["float"][name].error if "float" in sums else None,
            int_error=sums["int"][name].error,
            correlation=sums["int"][name].correlation,
        )
        for name in pairs
    ]


def rates(graph: Graph, floats: Graph | None, node: Node, run: Simulation) -> Array:
    """What a layer tells the next one in units of the ANN's activation (samples, *shape)."""
    if node.name in graph.outputs:
        return decode(graph, node.name, run.readout[node.name][-1], graph.steps)
    spikes = run.traces[node.name].spikes
    if spikes is None or floats is None:
        raise UsageError("a network without its float graph has no real units to compare in")
    theta = spread(floats.array(floats[node.name], "theta"), node.type.shape)
    mean: Array = spikes.sum(axis=0, dtype=np.int64) * (theta / len(spikes))
    return mean


def activations(ann: Graph, feeds: Mapping[str, Array], wanted: set[str]) -> dict[str, Array]:
    """Values of some nodes of an ANN (samples, *shape)."""
    given = {name: x.astype(np.float32) for name, x in feeds.items()}
    return {node.name: value for node, value in evaluate(ann, given) if node.name in wanted}
