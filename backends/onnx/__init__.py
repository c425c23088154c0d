"""Plain ONNX: the whole integer spiking network as one model of standard operators."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from spikec.backends.backend import Backend
from spikec.backends.onnx.network import build
from spikec.backends.onnx.simulate import simulate
from spikec.ir import Graph

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


BACKEND = Backend(
    doc="one ONNX model of standard operators; as engine, onnxruntime on the CPU (not CUDA)",
    emit=emit,
    entries=("outputs",),
    simulate=simulate,
    stages=("int",),
)
"""Emits standard ONNX, with all T steps inside."""
