"""Plain ONNX: the whole integer spiking network as one model of standard operators."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

from spikec.backends.backend import UNKNOWN, Engine, Origin, Target
from spikec.backends.onnx.network import build
from spikec.backends.onnx.simulate import simulate
from spikec.ir import Graph
from spikec.runtime.interpreter import Feeds, Simulation

MODEL = "network.onnx"


def emit(graph: Graph, folder: Path, outputs: Sequence[str] = ()) -> None:
    """Write the network of an integer graph as `network.onnx`.

    The same graph gives the same bytes.

    Args:
        graph: Of stage int.
        folder: Where to.
        outputs: Names of its real outputs; by default those of the ONNX nodes they come from.

    Raises:
        BackendError: naming the node that ONNX operators cannot compute exactly.
    """
    (folder / MODEL).write_bytes(build(graph, outputs).SerializeToString(deterministic=True))


@dataclass(frozen=True)
class Onnx(Target, Engine):
    """One ONNX model of standard operators; as engine, onnxruntime on the CPU (not CUDA)."""

    stages = ("int",)

    def emit(self, graph: Graph, folder: Path, origin: Origin = UNKNOWN) -> None:
        emit(graph, folder, origin.outputs)

    def simulate(
        self, graph: Graph, feeds: Feeds, steps: int | None = None, trace: Collection[str] = ()
    ) -> Simulation:
        return simulate(graph, feeds, steps, trace)
