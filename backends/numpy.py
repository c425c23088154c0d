"""The plain target: the artifact alone, to run with spikec's own engines."""

from dataclasses import dataclass
from pathlib import Path

from spikec.backends.backend import UNKNOWN, Origin, Target
from spikec.ir import Graph


@dataclass(frozen=True)
class Numpy(Target):
    """The artifact alone, run by the reference and fast engines."""

    def emit(self, graph: Graph, folder: Path, origin: Origin = UNKNOWN) -> None:
        """Write nothing: graph and weights are all that the engines need."""
