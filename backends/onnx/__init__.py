"""Plain ONNX: the whole integer spiking network as one model of standard operators."""

from __future__ import annotations

from pathlib import Path

from spikec.backends.backend import Backend
from spikec.backends.onnx.network import build
from spikec.backends.onnx.simulate import simulate
from spikec.ir import Graph

MODEL = "network.onnx"


def emit(graph: Graph, folder: Path) -> None:
    """Write the network of an integer graph as `network.onnx`.

    The same graph gives the same bytes.

    Raises:
        BackendError: naming the node that ONNX operators cannot compute exactly.
    """
    (folder / MODEL).write_bytes(build(graph).SerializeToString(deterministic=True))


BACKEND = Backend(
    doc="one ONNX model of standard operators, and onnxruntime running it",
    emit=emit,
    simulate=simulate,
    stages=("int",),
)
"""Emits standard ONNX, with all T steps inside."""
