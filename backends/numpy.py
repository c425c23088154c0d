"""The plain target: the artifact alone, to run with spikec's own engines."""

from pathlib import Path

from spikec.backends.backend import Backend
from spikec.ir import Graph


def emit(graph: Graph, folder: Path) -> None:
    """Write nothing: graph and weights are all that the engines need."""


BACKEND = Backend(doc="the artifact alone, run by the reference and fast engines", emit=emit)
