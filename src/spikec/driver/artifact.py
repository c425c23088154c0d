"""A compiled network: run it, save it, load it."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spikec.backends import BACKENDS, Engine, Origin, Target, available_engine, make_target
from spikec.compiler.pipeline import Progress
from spikec.driver.blocks import LARGE_BLOCK, block_size, encoded_blocks, logits, quiet, slices
from spikec.driver.checking import check
from spikec.ir import BackendError, Graph, UsageError
from spikec.report.schema import Check, Evaluation, Report, from_json
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
        report: What the compiler did and what was measured since.
    """

    stored: Stored
    seconds: dict[str, float] = field(default_factory=dict)
    folder: Path | None = None
    report: Report = field(init=False)

    def __post_init__(self) -> None:
        self.report = from_json(Report, self.stored.report)

    @property
    def graph(self) -> Graph:
        """The integer spiking graph."""
        return self.stored.graph

    def save(self, folder: str | Path) -> None:
        """Write the artifact directory in one step, with what its target emits."""
        manifest, emitter = self.stored.manifest, self.target
        origin = Origin(manifest["model"]["file"], tuple(manifest.get("outputs") or ()))
        stored = dataclasses.replace(self.stored, report=self.report.to_json())
        store.save(stored, Path(folder), lambda into: emitter.emit(self.graph, into, origin))
        self.folder = Path(folder)

    def record(self, measured: Evaluation | Check) -> None:
        """Add what was measured to the report, and to report.json where there is a folder.

        A measurement with the same `of` as an earlier one of its kind takes its place.
        """
        self.report.add(measured)
        if self.folder is not None:
            with contextlib.suppress(PermissionError):  # somebody else's artifact, only to be read
                store.record(self.folder, self.report.to_json())

    def stage(self, stage: str) -> Graph:
        """The graph of stage `int` or `float`."""
        if stage not in ("int", "float"):
            raise UsageError(f"stage must be one of int, float, not '{stage}'")
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
        graph = self.stage(stage)
        simulate = self.engine(engine_name, graph.stage).simulate
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
        runners = {name: self.engine(name).simulate for name in engines}
        return check(self.graph, data, runners, progress)

    @property
    def target(self) -> Target:
        """What the artifact was compiled for, with its options."""
        named = self.stored.manifest["target"]
        return make_target(named["name"], named["options"])

    def engine(self, text: str, stage: str = "int") -> Engine:
        """An engine; that of the artifact's own target, named without options, has the target's.

        Raises:
            BackendError: where it is unknown, not available, or cannot run a graph of `stage`.
        """
        own = self.stored.manifest["target"]["name"]
        if text == own and issubclass(BACKENDS[own], Engine):
            text = str(self.target)
        backend = available_engine(text)
        if stage not in backend.stages:
            raise BackendError(
                f"engine '{backend.name}' runs integers only", hint="leave out --stage float"
            )
        return backend


def load(folder: str | Path) -> Artifact:
    """Load an artifact directory; raises InvalidArtifact when it is damaged."""
    return Artifact(store.load(folder), folder=Path(folder))


def is_artifact(path: str | Path) -> bool:
    """Whether a path is an artifact directory."""
    return store.is_artifact(Path(path))
