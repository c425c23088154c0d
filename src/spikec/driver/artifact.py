"""An artifact: a compiled network, what is known of it, and its directory."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from spikec.backends import Origin
from spikec.driver.comparing import LayerError, compare
from spikec.driver.evaluating import ann_of, evaluate, predict
from spikec.driver.model import Model, ModelSource
from spikec.driver.network import Network
from spikec.driver.progress import Shown, shown
from spikec.ir import Graph, UsageError, op_of, verify
from spikec.ir.types import Array
from spikec.report.schema import Check, Conditions, Evaluation, Report, from_json
from spikec.report.table import Table
from spikec.runtime import artifact as store
from spikec.runtime.artifact import Stored
from spikec.runtime.check import traced_layers
from spikec.runtime.data import Dataset, Source
from spikec.runtime.interpreter import LayerTrace
from spikec.version import version

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from spikec.report.page import Page


@dataclass(slots=True, repr=False)
class Artifact(Network):
    """A compiled network, how it was made and what was measured of it.

    Attributes:
        stored: Graphs, manifest and the report as it was stored.
        seconds: Time per pass, when it was just compiled.
        folder: Where it was saved or loaded from.
        model: The ANN, where it was just compiled.
        report: What the compiler did and what was measured since.
    """

    seconds: dict[str, float] = field(default_factory=dict)
    folder: Path | None = None
    model: Model | None = None
    report: Report = field(init=False)

    def __post_init__(self) -> None:
        self.report = from_json(Report, self.stored.report)

    @staticmethod
    def from_graph(graph: Graph, model: ModelSource | None = None) -> Artifact:
        """An artifact of an integer graph that was edited or written by hand.

        Args:
            graph: Of stage int, with values.
            model: The ANN to compare it with, if any.

        Raises:
            InvalidGraph: when the graph breaks an invariant.
            UsageError: when it is of another stage.
        """
        if graph.stage != "int":
            raise UsageError(
                f"an artifact needs a graph of stage int, not {graph.stage}",
                hint="run the passes up to quantise first, as `spikec opt` does",
            )
        verify(graph)
        ann = None if model is None else Model.load(model)
        source = None if ann is None else ann.source
        manifest: dict[str, Any] = {
            "spikec": version(),
            "model": {"file": source, "sha256": None if ann is None else ann.digest},
            "outputs": [] if ann is None else ann.imported.logits,
            "target": {"name": "numpy", "options": {}},
            "steps": graph.steps,
            "passes": [],
        }
        report = Report(model=source or graph.name, timesteps=graph.steps, provenance=manifest)
        return Artifact(Stored(graph, None, manifest, report.to_json()), model=ann)

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

    def evaluate(
        self,
        x: Source | Dataset,
        y: Array | None = None,
        *,
        model: ModelSource | None = None,
        timesteps: Sequence[int] = (),
        engine: str = "fast",
        stage: str = "int",
        progress: Shown = True,
    ) -> Evaluation:
        """Accuracy, agreement with the ANN, spikes and synaptic operations, kept in the report.

        Args:
            x: Real inputs (N, *shape), by name where there are several.
            y: Labels (N,), if there are any.
            model: The ANN; the one that was compiled, where that was just now.
            timesteps: Numbers of steps to read the network after; those it was compiled for.
            engine: As on the command line.
            stage: int, or float for the network before quantisation.
            progress: True for a bar, False for none, or called with (what, done, total).
        """
        data = self.dataset(x, y)
        with shown(progress) as report:
            evaluation = evaluate(
                self,
                data,
                timesteps=timesteps,
                model=model or self.model,
                engine_name=engine,
                stage=stage,
                progress=report,
            )
        of: Conditions = {"data": "Python", "samples": len(data), "engine": engine, "stage": stage}
        evaluation = dataclasses.replace(evaluation, of=of)
        self.record(evaluation)
        return evaluation

    def trace(
        self, x: Source | Dataset, *, engine: str = "fast", progress: Shown = True
    ) -> dict[str, LayerTrace]:
        """Spikes and potentials (steps, N, *shape) of every layer of the integer network."""
        data = self.dataset(x)
        with shown(progress) as report:
            _, arrays = predict(self, data, engine, "int", trace=True, progress=report)
        return {
            name: LayerTrace(arrays.get(f"{name}.spikes"), arrays[f"{name}.potentials"])
            for name in traced_layers(self.graph)
        }

    def compare(
        self, x: Source | Dataset, *, model: ModelSource | None = None, progress: Shown = True
    ) -> Table[LayerError]:
        """ANN against spiking network, layer by layer: where the loss comes from.

        Args:
            x: Real inputs (N, *shape), by name where there are several.
            model: The ANN; the one that was compiled, where that was just now.
            progress: True for a bar, False for none, or called with (what, done, total).

        Returns:
            A row per layer, shown as a table in a notebook; `.to_pandas()` gives a DataFrame.
        """
        ann = model or self.model
        if ann is None:
            raise UsageError("compare needs the ANN", hint="give model='model.onnx'")
        with shown(progress) as report:
            return Table(compare(self, ann_of(self, ann), self.dataset(x), progress=report))

    def plot_raster(self, x: Source | Dataset | None = None, *, sample: int = 0) -> Figure:
        """Spikes of some neurons of each layer, over the time steps of one sample.

        Args:
            x: Real inputs; without, the sample is the first that the network was calibrated on.
            sample: Which of them.
        """
        from spikec.report.figures import draw_raster

        if x is not None:
            traces = self.trace(self.dataset(x).pick(slice(sample, sample + 1)))
            spiking = {name: t.spikes for name, t in traces.items() if t.spikes is not None}
            return draw_raster({name: spikes[:, 0] for name, spikes in spiking.items()})
        if self.report.profile is None:
            raise UsageError("no spikes were kept when this was compiled", hint="give inputs x")
        layers = self.report.profile.layers
        return draw_raster({layer.name: np.array(layer.raster) for layer in layers})

    def page(self) -> Page:
        """The report page; shown in a notebook, and a text to write elsewhere."""
        from spikec.report.page import Page, build

        return Page(build(self.report))

    def __repr__(self) -> str:
        layers = [node for node in self.graph.nodes if op_of(node).stateful]
        neurons = sum(node.type.size for node in layers)
        return (
            f"<spikec.Artifact {self.report.model or self.graph.name}: T = {self.graph.steps}, "
            f"{len(layers)} layers, {neurons:,} neurons, target {self.target}>"
        )

    def _repr_html_(self) -> str:
        from spikec.report.page import verdict

        return verdict(self.report, repr(self)[1:-1])


def load(folder: str | Path) -> Artifact:
    """Load an artifact directory; raises InvalidArtifact when it is damaged."""
    return Artifact(store.load(folder), folder=Path(folder))


def is_artifact(path: str | Path) -> bool:
    """Whether a path is an artifact directory."""
    return store.is_artifact(Path(path))
