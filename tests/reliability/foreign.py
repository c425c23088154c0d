"""Damaged files and random models, read as spikec reads them, for some time.

    python tests/reliability/foreign.py --minutes 10 --seed 1 --out found/

Each variant must be read, or end in one error of spikec's own that names the file; models that are
imported must equal onnxruntime, and engines each other. Writes what was tried and found into
--out/foreign.json; exit status 1 where something else happened.
"""

from __future__ import annotations

import argparse
import functools
import hashlib
import json
import shutil
import sys
import tempfile
import time
import warnings
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))
import models
import numpy as np
from damage import (
    damaged_bytes,
    damaged_json,
    damaged_npz,
    damaged_spk,
    doubled_npz,
    odd_files,
)
from within import TookTooLong, told_of, within

import spikec
from spikec.backends import engine
from spikec.driver.contents import placement, resources
from spikec.ir import Graph, RangeError, SpikecError
from spikec.ir.hardware import LOIHI2, read_spec
from spikec.options import Options, read_recipe
from spikec.report.page import build, verdict
from spikec.runtime import golden
from spikec.runtime.data import read_dataset

SLOW, HANGS = 10.0, 120.0
"""Seconds of computing that reading a small file may take, and of waiting until it is ended."""
MODELS = 100
"""Models tried in a round, beside all files."""


@dataclass(slots=True)
class Tally:
    """What was tried and found.

    Attributes:
        read: Variants that could be read, by file.
        refused: Variants that ended in one error, by file.
        found: What happened else, by file and variant.
    """

    read: Counter[str] = field(default_factory=Counter)
    refused: Counter[str] = field(default_factory=Counter)
    found: dict[str, str] = field(default_factory=dict)

    @property
    def tried(self) -> int:
        """All variants."""
        return self.read.total() + self.refused.total() + len(self.found)


@dataclass(frozen=True)
class Reader:
    """A file below the world, and what reads it.

    Attributes:
        file: Its name.
        read: Reads it and uses what it says.
    """

    file: str
    read: Callable[[Path], object]


def use(folder: Path, pages: bool) -> None:
    """All that an artifact is read for."""
    art = spikec.load(folder)
    verdict(art.report, repr(art))
    resources(art.graph)
    placement(art)
    art.images, art.target, art.counterparts  # noqa: B018
    inputs = {node.loc or node.name: np.zeros((1, *node.type.shape), np.float32)
              for node in art.graph.inputs}  # fmt: skip
    art.run(inputs)
    if pages:
        build(art.report)


def readers(template: Path, pages: bool) -> list[Reader]:
    """All files of a world that spikec reads."""

    def artifact(world: Path) -> None:
        use(world / "out", pages)

    def traces(world: Path) -> None:
        golden.verify(world / "traces", engine("fast"))

    def data(name: str) -> Callable[[Path], None]:
        return lambda world: read(world / name, spikec.load(world / "out").graph)

    def read(file: Path, graph: Graph) -> None:
        for x in read_dataset(file, graph).feeds.values():
            np.asarray(x).sum()

    inside = ("manifest.json", "report.json", "recipe.json", "graph.spk", "weights.npz",
              "float.spk", "float.npz")  # fmt: skip
    found = [
        *(Reader(f"out/{name}", artifact) for name in inside),
        *(Reader(f"traces/{name}", traces)
          for name in ("trace.json", "graph.spk", "weights.npz", "input.npz", "arrays.npz")),
        Reader("recipe.json", lambda world: Options.of(read_recipe(world / "recipe.json"))),
        Reader("chip.json", lambda world: read_spec(world / "chip.json", LOIHI2)),
        Reader("x.npz", data("x.npz")),
        Reader("x.npy", data("x.npy")),
        Reader("images/a/1.png", data("images")),
    ]  # fmt: skip
    return [reader for reader in found if (template / reader.file).exists()]


def variants(content: bytes, suffix: str, seed: int, most: int) -> Iterator[tuple[str, bytes]]:
    """Damaged contents of a file, at most about `most` of each kind."""
    yield from damaged_bytes(content, seed, most)
    if suffix == ".json":
        yield from damaged_json(content, seed, most)
    elif suffix == ".npz":
        yield from damaged_npz(content, seed)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield "a member twice", doubled_npz(content)
    elif suffix == ".spk":
        yield from damaged_spk(content, seed, most)


def vouch(file: Path, content: bytes) -> None:
    """Write a file, and let the manifest beside it vouch for it."""
    file.write_bytes(content)
    for manifest in (file.with_name("manifest.json"), file.with_name("trace.json")):
        if manifest.is_file() and manifest != file:
            listed = json.loads(manifest.read_bytes())
            if file.name in listed["files"]:
                listed["files"][file.name] = hashlib.sha256(content).hexdigest()
                manifest.write_text(json.dumps(listed))


def attempt(reader: Reader, world: Path) -> tuple[str, str]:
    """`read`, `refused` or `found`, and what was said."""
    started = time.process_time()
    try:
        with warnings.catch_warnings(), within(HANGS):
            warnings.simplefilter("error")
            reader.read(world)
        kind, told = "read", ""
    except RangeError as error:  # of other numbers, which any file may hold
        return "refused", str(error)
    except SpikecError as error:
        kind, told = "refused", str(error)
    except (Exception, TookTooLong) as error:
        return "found", told_of(error)
    if time.process_time() - started > SLOW:
        return "found", f"took {time.process_time() - started:.0f} s"
    file = world / reader.file
    beside = {file.name, file.parent.name, *(other.name for other in file.parent.iterdir())}
    if kind == "refused" and not any(name in told for name in beside):
        return "found", f"does not name the file: {told}"
    return kind, told


def campaign(template: Path, seed: int, end: float, most: int, pages: bool = False) -> Tally:
    """Read damaged variants of all files of a world until the time is over."""
    tally = Tally()
    with tempfile.TemporaryDirectory() as name:
        world = Path(name) / "world"
        for reader in readers(template, pages):
            for label, put in damages(template, world, reader.file, seed, most):
                if time.monotonic() > end:
                    return tally
                shutil.rmtree(world, ignore_errors=True)
                shutil.copytree(template, world)
                put()
                kind, told = attempt(reader, world)
                if kind == "found":
                    tally.found[f"{reader.file}: {label} (seed {seed})"] = told
                else:
                    (tally.read if kind == "read" else tally.refused)[reader.file] += 1
    return tally


def damages(
    template: Path, world: Path, file: str, seed: int, most: int
) -> Iterator[tuple[str, Callable[[], None]]]:
    """All that is put in a file's place, by what it is; what is no file once in ten seeds."""
    content, target = (template / file).read_bytes(), world / file

    def replaced(by: Callable[[], None]) -> None:
        target.unlink()
        by()

    for label, damaged in variants(content, target.suffix, seed, most):
        yield label, functools.partial(vouch, target, damaged)
    for label, put in odd_files(target) if seed % 10 == 0 else ():
        yield label, functools.partial(replaced, put)


def make_world(folder: Path, model: Any, x: Any) -> Path:
    """A folder with one of each file that spikec reads."""
    folder.mkdir(parents=True, exist_ok=True)
    art = spikec.compile(model, x, timesteps=3, samples=8)
    art.save(folder / "out")
    art.evaluate(x[:4])
    art.check(x[:2])
    np.savez(folder / "x.npz", x=x)
    np.save(folder / "x.npy", x)
    if x.ndim == 4 and x.shape[1] in (1, 3):
        picture(x.shape[1:], folder / "images" / "a" / "1.png")
    coded = {art.graph.inputs[0].name: np.ones((2, *art.graph.inputs[0].type.shape), np.int64)}
    golden.write(folder / "traces", art.graph, coded, engine("fast"), arrays=True)
    settings = {"timesteps": 4, "target": "lava", "set": ["dni.samples=8192"], "max_loss": 0.01,
                "hardware": "chip.json", "shape": ["x=1,2"], "require_fit": True}  # fmt: skip
    (folder / "recipe.json").write_text(json.dumps(settings))
    figure = {"value": 8, "source": "measured", "status": "official"}
    (folder / "chip.json").write_text(
        json.dumps({"name": "mine", "base": "loihi2", "weight_bits": figure, "fan_in": 64})
    )
    return folder


def picture(shape: Sequence[int], file: Path) -> None:
    """An image that a model takes."""
    from PIL import Image

    file.parent.mkdir(parents=True, exist_ok=True)
    channels, height, width = shape
    pixels = np.random.default_rng(0).integers(0, 256, (height, width, 3), np.uint8)
    image = Image.fromarray(pixels)
    (image if channels == 3 else image.convert("L")).save(file)


def main() -> int:
    """Run; returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--minutes", type=float, default=10.0, help="time budget")
    parser.add_argument("--inputs", type=int, default=10**8, help="stop after about so many")
    parser.add_argument("--seed", type=int, default=0, help="another one, other damage")
    parser.add_argument("--most", type=int, default=25, help="variants of a file, kind and seed")
    parser.add_argument("--pages", action="store_true", help="draw report pages, too (slow)")
    parser.add_argument("--out", type=Path, default=Path("found"), help="where findings go")
    options = parser.parse_args()
    examples = Path(__file__).parents[2] / "examples"
    with np.load(examples / "fashion_mnist_small.npz") as images:
        x = images["x_calib"][:16]
    end, seed, tally = time.monotonic() + 60 * options.minutes, options.seed, Tally()
    of_models = models.Tally()
    with tempfile.TemporaryDirectory() as name:
        world = make_world(Path(name) / "template", examples / "fashion_resnet8.onnx", x)
        with suppress(KeyboardInterrupt):
            while time.monotonic() < end and tried(tally, of_models) < options.inputs:
                first = MODELS * seed
                models.campaign(range(first, first + MODELS), of_models, end)
                part = campaign(world, seed, end, options.most, options.pages)
                tally.read += part.read
                tally.refused += part.refused
                tally.found |= part.found
                seed += 1
                print(tried(tally, of_models), "tried", file=sys.stderr, flush=True)
    found = tally.found | of_models.found
    summary = {"seeds": [options.seed, seed], "tried": tried(tally, of_models),
               "read": dict(tally.read), "refused": dict(tally.refused),
               "models": dict(of_models.outcomes), "found": found}  # fmt: skip
    options.out.mkdir(parents=True, exist_ok=True)
    (options.out / "foreign.json").write_text(json.dumps(summary, indent=2) + "\n")
    print(json.dumps(summary, indent=2))
    return 1 if found else 0


def tried(files: Tally, of_models: models.Tally) -> int:
    """All inputs."""
    return files.tried + of_models.outcomes.total() + len(of_models.found)


if __name__ == "__main__":
    sys.exit(main())
