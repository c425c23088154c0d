"""A compiled network: run it, save it, load it."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spikec.backends import engine, target
from spikec.compiler.pipeline import Progress
from spikec.driver.blocks import LARGE_BLOCK, block_size, encoded_blocks, logits, quiet, slices
from spikec.driver.checking import check
from spikec.driver.options import one_of
from spikec.ir import Graph, UsageError
from spikec.runtime import artifact as store
from spikec.runtime.artifact import Stored
from spikec.runtime.check import traced_block
from spikec.runtime.coding import encode
from spikec.runtime.data import Dataset, Source, make_dataset
from spikec.runtime.interpreter import Simulation


@dataclass(slots=True)
class Artifact:
    """A compiled network: its integer graph, the float graph behind it, and how it was made.

    Attributes:
        stored: Graphs, manifest and report.
        seconds: Time per pass, when it was just compiled.
        folder: Where it was saved or loaded from.
    """

    stored: Stored
    seconds: dict[str, float] = field(default_factory=dict)
    folder: Path | None = None

    @property
    def graph(self) -> Graph:
        """The integer spiking graph."""
        return self.stored.graph

    @property
    def report(self) -> dict[str, Any]:
        """What the compiler did and measured."""
        return self.stored.report

    def save(self, folder: str | Path) -> None:
        """Write the artifact directory in one step, with what its target emits."""
        manifest = self.stored.manifest
        name = str(manifest["target"])
        backend = target(self.variant(name))
        assert backend.emit is not None
        more = {key: manifest[key] for key in backend.entries if manifest.get(key)}
        into = None if name == "numpy" else functools.partial(backend.emit, self.graph, **more)
        store.save(self.stored, Path(folder), into)
        self.folder = Path(folder)

    def record(self, kind: str, found: dict[str, Any]) -> None:
        """Add what was measured to the report, and to report.json where there is a folder.

        A measurement with the same `of` as an earlier one of its kind takes its place.
        """
        others = [entry for entry in self.report.get(kind, []) if entry["of"] != found["of"]]
        self.report[kind] = [*others, found]
        if self.folder is not None:
            with contextlib.suppress(PermissionError):  # somebody else's artifact, only to be read
                store.record(self.folder, self.report)

    def stage(self, stage: str) -> Graph:
        """The graph of stage `int` or `float`."""
        one_of("stage", stage, ("int", "float"))
        return self.graph if stage == "int" else self.stored.float_graph

    def run(
        self,
        x: Source,
        *,
        engine: str = "fast",
        stage: str = "int",
        timesteps: int | None = None,
    ) -> NDArray[np.float64]:
        """Logits (N, classes) of the spiking network: accumulated current per step.

        Args:
            x: Real inputs (N, *shape), by name where there are several.
            engine: reference, fast or lava.
            stage: int, or float for the network before quantisation.
            timesteps: Steps to run; those it was compiled for by default.
        """
        data = make_dataset(x, self.graph)
        graph = self.stage(stage)
        steps = graph.steps if timesteps is None else timesteps
        if steps < 1:
            raise UsageError(f"timesteps must be at least 1, not {steps}")
        parts = [
            logits(graph, run.readout, steps) for run in self.blocks(data, engine, stage, steps)
        ]
        return np.concatenate(parts)

    def blocks(
        self,
        data: Dataset,
        engine_name: str = "fast",
        stage: str = "int",
        steps: int | None = None,
        trace: Sequence[str] = (),
        progress: Progress = quiet,
    ) -> Iterator[Simulation]:
        """Simulate all samples, block by block."""
        simulate, graph = engine(self.variant(engine_name)), self.stage(stage)
        size = traced_block(graph) if trace else block_size(engine_name)
        for start, feeds in encoded_blocks(graph, data, size):
            yield simulate(graph, feeds, steps, trace)
            progress("simulate", min(start + size, len(data)), len(data))

    def clipped(self, x: Dataset) -> tuple[int, int]:
        """How many input elements lie outside the coded range, and how many there are."""
        found = [encode(self.graph, feeds) for _, feeds in slices(x, LARGE_BLOCK)]
        return sum(e.clipped for e in found), sum(e.total for e in found)

    def check(
        self,
        x: Source | Dataset,
        engines: Sequence[str] = ("reference", "fast"),
        progress: Progress = quiet,
    ) -> dict[str, Any]:
        """Compare engines bit for bit on every layer and step; see `spikec check --json`."""
        data = x if isinstance(x, Dataset) else make_dataset(x, self.graph)
        if len(set(engines)) < len(engines):
            raise UsageError("check needs at least two engines, each named once")
        runners = {name: engine(self.variant(name)) for name in engines}
        return check(self.graph, data, runners, progress)

    def variant(self, name: str) -> str:
        """The backend that a target or engine stands for: the one this artifact was emitted for."""
        stock = self.stored.manifest.get("lava_neuron") == "stock"
        return "lava_stock" if name == "lava" and stock else name


def load(folder: str | Path) -> Artifact:
    """Load an artifact directory; raises InvalidArtifact when it is damaged."""
    return Artifact(store.load(folder), folder=Path(folder))


def is_artifact(path: str | Path) -> bool:
    """Whether a path is an artifact directory."""
    return store.is_artifact(Path(path))
