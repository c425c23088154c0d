"""Bit-exactness: what two engines did, compared spike by spike and potential by potential."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from spikec.ir import Graph, op_of
from spikec.runtime.estimate import simulation
from spikec.runtime.interpreter import Simulation
from spikec.runtime.memory import MORE_MEMORY, fitting

BLOCK = 32
"""Samples that are traced at a time, at most."""
TRACES = 1 << 29
"""Bytes of traces that are held at once, unless one sample has more."""
_TRACED = 5
"""Bytes of a spike and a potential of 32 bits."""


def traced_layers(graph: Graph) -> list[str]:
    """The layers that have spikes or potentials: all stateful nodes."""
    return [node.name for node in graph.nodes if op_of(node).stateful]


def trace_bytes(graph: Graph) -> int:
    """Bytes of the traces of one sample, all layers traced."""
    neurons = sum(node.type.size for node in graph.nodes if op_of(node).stateful)
    return neurons * graph.steps * _TRACED


def traced_block(*graphs: Graph) -> int:
    """Samples whose traces in all of these graphs are held at once.

    Raises:
        OutOfMemory: when there is not enough memory for one.
    """
    traces = sum(trace_bytes(graph) for graph in graphs)
    needs = [simulation(graph, graph.steps, "reference") for graph in graphs]
    most = max(1, min(BLOCK, TRACES // max(traces, 1)))
    fixed = max((need.fixed for need in needs), default=0)  # one after the other
    running = max((need.per_sample for need in needs), default=0)
    return fitting(most, fixed, traces + running, "tracing", MORE_MEMORY)


@dataclass(slots=True)
class LayerCheck:
    """How many spikes and potentials of a layer were compared and differ."""

    name: str
    spikes_compared: int = 0
    spikes_differing: int = 0
    potentials_compared: int = 0
    potentials_differing: int = 0


@dataclass(slots=True)
class Comparison:
    """The running result of comparing engines with the first one."""

    layers: dict[str, LayerCheck] = field(default_factory=dict)
    first_difference: dict[str, Any] | None = None

    @property
    def equal(self) -> bool:
        """Whether nothing differed."""
        return self.first_difference is None

    def add(
        self,
        graph: Graph,
        runs: Mapping[str, Simulation],
        sample: int,
        layers: Sequence[str] | None = None,
    ) -> None:
        """Compare the traces of one block of samples.

        Args:
            graph: The graph that ran.
            runs: Engine name to its simulation, all layers traced.
            sample: Index of the block's first sample.
            layers: Layers to compare; all by default.
        """
        names = list(runs)
        for name in traced_layers(graph) if layers is None else layers:
            layer = self.layers.setdefault(name, LayerCheck(name))
            for other in names[1:]:
                self._compare(graph, name, layer, names[0], other, runs, sample)

    def _compare(
        self,
        graph: Graph,
        name: str,
        layer: LayerCheck,
        first: str,
        other: str,
        runs: Mapping[str, Simulation],
        sample: int,
    ) -> None:
        left, right = runs[first].traces[name], runs[other].traces[name]
        differs = left.potentials != right.potentials
        layer.potentials_compared += differs.size
        layer.potentials_differing += int(differs.sum())
        if left.spikes is not None and right.spikes is not None:
            spikes = left.spikes != right.spikes
            layer.spikes_compared += spikes.size
            layer.spikes_differing += int(spikes.sum())
            differs = differs | spikes
        if self.first_difference is None and differs.any():
            step, index, *neuron = map(int, np.argwhere(differs)[0])
            where = (step, index, *neuron)
            self.first_difference = {
                "layer": name,
                "neuron": neuron,
                "step": step + 1,
                "sample": sample + index,
                "onnx_node": graph[name].loc,
                "values": {
                    engine: {
                        "spike": None if t.spikes is None else int(t.spikes[where]),
                        "potential": int(t.potentials[where]),
                    }
                    for engine, t in ((first, left), (other, right))
                },
            }
