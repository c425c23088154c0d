"""The main job on a bundled trained model and real images, from ONNX to a bit-exact Lava run."""

from __future__ import annotations

import tempfile
import time
from dataclasses import asdict
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np

from spikec import driver
from spikec.backends import BACKENDS
from spikec.compiler.pipeline import Progress
from spikec.ir import BackendError
from spikec.ir.types import Array
from spikec.runtime.data import Dataset, make_dataset
from spikec.ui import Ui, percent, short

STEPS = (1, 2, 4, 8)
LAVA_IMAGES = 4


def example(name: str) -> Path:
    """A bundled example file, in a checkout or an installed package."""
    beside = Path(str(resources.files("spikec"))) / "examples" / name
    if not beside.is_file():
        raise BackendError(f"the bundled example {name} is missing from this installation")
    return beside


def run_demo(ui: Ui, target: str, limit: int) -> dict[str, Any]:
    """Compile, evaluate, emit and check the bundled network; returns what the table shows."""
    start = time.perf_counter()
    path = example("fashion_resnet8.onnx")
    with np.load(example("fashion_mnist_small.npz"), allow_pickle=False) as images:
        calib, x, y = images["x_calib"], images["x"][:limit], images["y"][:limit]
    model = driver.Model.load(path)
    data = make_dataset(x, model.graph, labels=y)
    ui.note(
        f"{path.name}: a ResNet trained with plain ReLU on Fashion-MNIST; {len(data)} test "
        f"images, {len(calib)} unlabelled ones to calibrate"
    )
    rows, arts = [], {}
    with tempfile.TemporaryDirectory(prefix="spikec-demo-") as folder, ui.progress() as progress:
        for steps in STEPS:
            arts[steps] = _compile(model, calib, steps, target, progress)
            rows.append(_row(arts[steps], data, model, steps, progress))
        arts[STEPS[-1]].save(Path(folder) / "fashion")
        exact = _check(arts[STEPS[-1]], data, target, progress)
    measured = {
        "ann_accuracy": rows[0]["ann_accuracy"],
        "results": rows,
        **exact,
        "seconds": time.perf_counter() - start,
    }
    _show(ui, measured)
    return measured


def _compile(
    model: driver.Model, calib: Array, steps: int, target: str, progress: Progress
) -> driver.Artifact:
    def named(what: str, done: int, total: int) -> None:
        progress(f"{what} T={steps}", done, total)

    return driver.compile(model, calib, timesteps=steps, target=target, progress=named)


def _row(
    art: driver.Artifact, data: Dataset, model: driver.Model, steps: int, progress: Progress
) -> dict[str, Any]:
    def named(what: str, done: int, total: int) -> None:
        progress(f"{what} T={steps}", done, total)

    integer = driver.evaluate(art, data, model=model, progress=named)
    floating = driver.evaluate(art, data, stage="float", progress=named)
    return {
        **asdict(integer.results[-1]),
        "ann_accuracy": integer.ann_accuracy,
        "float_accuracy": floating.results[-1].accuracy,
    }


def _check(art: driver.Artifact, data: Dataset, target: str, progress: Progress) -> dict[str, Any]:
    """Reference, fast engine and, where it can run, Lava, on a few images."""
    reason = BACKENDS["lava"]().unavailable() if target == "lava" else "left out by --target"
    engines = ["reference", "fast"] + ([] if reason else ["lava"])
    check = art.check(data.head(LAVA_IMAGES), engines, progress)
    layers = check["layers"]
    return {
        "equal": check["equal"],
        "engines": engines,
        "lava_unavailable": reason,
        "images_checked": check["samples"],
        "spikes_compared": sum(layer["spikes_compared"] for layer in layers),
        "spikes_differing": sum(layer["spikes_differing"] for layer in layers),
        "potentials_compared": sum(layer["potentials_compared"] for layer in layers),
        "potentials_differing": sum(layer["potentials_differing"] for layer in layers),
    }


def _show(ui: Ui, measured: dict[str, Any]) -> None:
    rows = [
        (
            r["timesteps"],
            percent(measured["ann_accuracy"]),
            percent(r["float_accuracy"]),
            percent(r["accuracy"]),
            short(r["spikes"]),
            short(r["effective_acs"]),
            short(r["effective_macs"]),
        )
        for r in measured["results"]
    ]
    ui.table(
        "Spiking network, compiled for T steps (per image: spikes, synaptic operations)",
        ["T", "ANN", "float SNN", "integer SNN", "spikes", "ACs", "MACs"],
        rows,
    )
    names = " = ".join(measured["engines"])
    ui.say(
        f"{names}: {measured['spikes_differing']} of {measured['spikes_compared']:,} spikes and "
        f"{measured['potentials_differing']} of {measured['potentials_compared']:,} potentials "
        f"differ ({measured['images_checked']} images, T = {STEPS[-1]})"
    )
    if measured["lava_unavailable"]:
        ui.note(f"Lava was not run: {measured['lava_unavailable']}")
