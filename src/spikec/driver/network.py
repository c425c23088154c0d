"""A compiled network: its graphs, its target, and engines that run it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spikec.backends import BACKENDS, Engine, Target, available_engine, make_target
from spikec.compiler.pipeline import Progress
from spikec.driver.blocks import LARGE_BLOCK, block_size, encoded_blocks, logits, quiet, slices
from spikec.driver.checking import check
from spikec.driver.frames import doubts_of_frames, with_frames
from spikec.driver.measures import Output, outputs_of
from spikec.ir import BackendError, Graph, SpikecError, UsageError, spread
from spikec.ir.types import Array
from spikec.options import Metric
from spikec.runtime.artifact import MANIFEST, Stored
from spikec.runtime.check import traced_block
from spikec.runtime.coding import encode
from spikec.runtime.data import Dataset, Source, make_dataset
from spikec.runtime.images import Preparation, read_preparation
from spikec.runtime.interpreter import Simulation

NARROW = 0.1
"""Share of the calibrated input range below which inputs are doubted."""


@contextmanager
def _of_manifest() -> Iterator[None]:
    """Errors are the manifest's."""
    try:
        yield
    except SpikecError as error:
        error.loc = error.loc or MANIFEST
        raise


@dataclass(slots=True, repr=False)
class Network:
    """A compiled network: its integer graph, and the float graph behind it where there is one.

    Attributes:
        stored: Graphs, manifest and the report as it was stored.
    """

    stored: Stored

    @property
    def graph(self) -> Graph:
        """The integer spiking graph."""
        return self.stored.graph

    def take_frames(self, names: Sequence[str]) -> None:
        """Read the data of some inputs as frames, where it was not compiled to; see `--frames`."""
        graph, floats = self.stored.graph, self.stored.float_graph
        floats = None if floats is None else with_frames(floats, names)
        self.stored = replace(self.stored, graph=with_frames(graph, names), float_graph=floats)

    def outputs(self, metrics: Mapping[str, Metric] | None = None) -> list[Output]:
        """Its outputs, and how each is judged: as stated here, or when it was compiled."""
        names = self.stored.manifest.get("outputs") or self.graph.outputs
        kept = self.stored.manifest.get("metrics") or {}
        axes = self.stored.manifest.get("class_axes")
        return outputs_of(self.graph, names, {**kept, **(metrics or {})}, class_axes=axes)

    @property
    def counterparts(self) -> dict[str, str]:
        """The ANN's value that each layer stands for; nothing where there is no ANN."""
        stored = self.stored.manifest.get("counterparts") or {}
        return {node.name: stored[node.name] for node in self.graph.nodes if node.name in stored}

    @property
    def images(self) -> Preparation:
        """How images were prepared for calibration, and are for every later use."""
        with _of_manifest():
            return read_preparation(self.stored.manifest.get("images"))

    def dataset(self, x: Source | Dataset, labels: Array | None = None) -> Dataset:
        """Data as inputs of the network; see `spikec.runtime.data.make_dataset`."""
        return make_dataset(x, self.graph, labels=labels, images=self.images)

    def stage(self, stage: str) -> Graph:
        """The graph of stage `int` or `float`."""
        if stage not in ("int", "float"):
            raise UsageError(f"stage must be one of int, float, not '{stage}'")
        if stage == "int":
            return self.graph
        if self.stored.float_graph is None:
            raise UsageError("this artifact was made from a graph: it has no float network")
        return self.stored.float_graph

    def run(
        self,
        x: Source | Dataset,
        *,
        engine: str = "fast",
        stage: str = "int",
        timesteps: int | None = None,
    ) -> NDArray[np.float64]:
        """Logits (N, classes) of the spiking network: accumulated current per step.

        Args:
            x: Real inputs (N, *shape), by name where there are several; frames (N, T, *shape).
            engine: reference, fast or lava.
            stage: int, or float for the network before quantisation.
            timesteps: Steps to run; those it was compiled for by default.
        """
        data = self.dataset(x)
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
        size = traced_block(graph) if trace else block_size(engine_name, graph, steps)
        for start, feeds in encoded_blocks(graph, data, size):
            yield simulate(graph, feeds, steps, trace)
            progress("simulate", min(start + size, len(data)), len(data))

    def doubts(self, x: Dataset) -> list[str]:
        """What is wrong with inputs that nevertheless can be run: another range than calibrated."""
        doubts = doubts_of_frames(x, self.graph.steps)
        for node in self.graph.inputs:
            scale, offset = (
                spread(self.graph.array(node, role), node.type.shape)
                for role in ("scale", "offset")
            )
            top = offset + scale * node.type.dtype.bounds[1]
            low, high = float(offset.min()), float(top.max())
            least, most = float(x.feeds[node.name].min()), float(x.feeds[node.name].max())
            values = x.feeds[node.name]
            counted = bool((scale == 1).all() and most - least > 1 and (values % 1 == 0).all())
            if most - least < NARROW * (high - low) and not counted:
                doubts.append(
                    f"inputs '{node.loc or node.name}' span {least:.4g} to {most:.4g}, those of "
                    f"calibration {low:.4g} to {high:.4g}: are they scaled alike?"
                )
        clipped, total = self.clipped(x)
        if clipped:
            doubts.append(
                f"{clipped} of {total} input values lie outside the calibrated input range and "
                "were clipped"
            )
        return doubts

    def clipped(self, x: Dataset) -> tuple[int, int]:
        """How many input elements lie outside the coded range, and how many there are."""
        clipped = total = 0
        for _, feeds in slices(x, LARGE_BLOCK):
            coded = encode(self.graph, feeds)
            clipped, total = clipped + coded.clipped, total + coded.total
        return clipped, total

    def check(
        self,
        x: Source | Dataset,
        engines: Sequence[str] = ("reference", "fast"),
        progress: Progress = quiet,
    ) -> dict[str, Any]:
        """Compare engines bit for bit on every layer and step; see `spikec check --json`."""
        data = self.dataset(x)
        if len(set(engines)) < len(engines):
            raise UsageError("check needs at least two engines, each named once")
        runners = {name: self.engine(name).simulate for name in engines}
        return check(self.graph, data, runners, progress)

    @property
    def target(self) -> Target:
        """What the artifact was compiled for, with its options."""
        named = self.stored.manifest["target"]
        with _of_manifest():
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
