"""Damaged files, read as spikec reads them, for some time.

    python tests/reliability/foreign.py --minutes 10 --seed 1 --out found/

Each variant must be read, or end in one error of spikec's own that names the file. Writes what was
tried and found into --out/foreign.json; exit status 1 where something else happened.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import shutil
import sys
import tempfile
import time
import traceback
import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))
import numpy as np
from damage import damaged_json, damaged_npz, damaged_spk, doubled_npz

import spikec
from spikec.backends import engine
from spikec.driver.looking import placement, resources
from spikec.ir import RangeError, SpikecError
from spikec.ir.hardware import LOIHI2, read_spec
from spikec.options import Options, read_recipe
from spikec.report.page import build, verdict
from spikec.runtime import golden
from spikec.runtime.data import read_dataset

SLOW = 10.0
"""Seconds after which reading a small file is taken to hang."""


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


def readers(pages: bool) -> list[Reader]:
    """All files that spikec reads, beside ONNX models and images."""

    def artifact(world: Path) -> None:
        use(world / "out", pages)

    def traces(world: Path) -> None:
        golden.verify(world / "traces", engine("fast"))

    def data(world: Path) -> None:
        read_dataset(world / "x.npz", spikec.load(world / "out").graph)

    inside = ("manifest.json", "report.json", "recipe.json", "graph.spk", "weights.npz",
              "float.spk", "float.npz")  # fmt: skip
    return [
        *(Reader(f"out/{name}", artifact) for name in inside),
        *(Reader(f"traces/{name}", traces)
          for name in ("trace.json", "graph.spk", "weights.npz", "input.npz", "arrays.npz")),
        Reader("recipe.json", lambda world: Options.of(read_recipe(world / "recipe.json"))),
        Reader("chip.json", lambda world: read_spec(world / "chip.json", LOIHI2)),
        Reader("x.npz", data),
    ]  # fmt: skip


def variants(content: bytes, suffix: str, seed: int, most: int) -> Iterator[tuple[str, bytes]]:
    """Damaged contents of a file, at most about `most`."""
    if suffix == ".json":
        yield from damaged_json(content, seed, most)
    elif suffix == ".npz":
        yield from damaged_npz(content, seed)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield "a member twice", doubled_npz(content)
    else:
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
    started = time.monotonic()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            reader.read(world)
        kind, told = "read", ""
    except RangeError as error:  # of other numbers, which any file may hold
        return "refused", str(error)
    except SpikecError as error:
        kind, told = "refused", str(error)
    except Exception as error:
        frames = traceback.extract_tb(error.__traceback__)
        where = f"{Path(frames[-1].filename).name}:{frames[-1].lineno}"
        return "found", f"{type(error).__name__}: {error} ({where})"[:300]
    if time.monotonic() - started > SLOW:
        return "found", f"took {time.monotonic() - started:.0f} s"
    beside = {file.name for file in (world / reader.file).parent.iterdir()}
    if kind == "refused" and not any(name in told for name in beside):
        return "found", f"does not name the file: {told}"
    return kind, told


def campaign(template: Path, seed: int, end: float, most: int, pages: bool = False) -> Tally:
    """Read damaged variants of all files of a world until the time is over."""
    tally = Tally()
    with tempfile.TemporaryDirectory() as name:
        world = Path(name) / "world"
        for reader in readers(pages):
            content = (template / reader.file).read_bytes()
            for label, damaged in variants(content, Path(reader.file).suffix, seed, most):
                if time.monotonic() > end:
                    return tally
                shutil.rmtree(world, ignore_errors=True)
                shutil.copytree(template, world)
                vouch(world / reader.file, damaged)
                kind, told = attempt(reader, world)
                if kind == "found":
                    tally.found[f"{reader.file}: {label}"] = told
                else:
                    (tally.read if kind == "read" else tally.refused)[reader.file] += 1
    return tally


def make_world(folder: Path, model: Any, x: Any) -> Path:
    """A folder with one of each file that spikec reads."""
    folder.mkdir(parents=True, exist_ok=True)
    art = spikec.compile(model, x, timesteps=3, samples=8)
    art.save(folder / "out")
    art.evaluate(x[:4])
    art.check(x[:2])
    np.savez(folder / "x.npz", x=x)
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


def main() -> int:
    """Run; returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--minutes", type=float, default=10.0, help="time budget")
    parser.add_argument("--seed", type=int, default=0, help="another one, other damage")
    parser.add_argument("--most", type=int, default=150, help="variants of a file and seed")
    parser.add_argument("--pages", action="store_true", help="draw report pages, too (slow)")
    parser.add_argument("--out", type=Path, default=Path("found"), help="where findings go")
    options = parser.parse_args()
    examples = Path(__file__).parents[2] / "examples"
    with np.load(examples / "fashion_mnist_small.npz") as images:
        x = images["x_calib"][:16]
    end, seed, tally = time.monotonic() + 60 * options.minutes, options.seed, Tally()
    with tempfile.TemporaryDirectory() as name:
        world = make_world(Path(name) / "template", examples / "fashion_resnet8.onnx", x)
        with suppress(KeyboardInterrupt):
            while time.monotonic() < end:
                part = campaign(world, seed, end, options.most, options.pages)
                tally.read += part.read
                tally.refused += part.refused
                tally.found |= part.found
                seed += 1
    summary = {"seeds": [options.seed, seed], "tried": tally.tried, "read": dict(tally.read),
               "refused": dict(tally.refused), "found": tally.found}  # fmt: skip
    options.out.mkdir(parents=True, exist_ok=True)
    (options.out / "foreign.json").write_text(json.dumps(summary, indent=2) + "\n")
    print(json.dumps(summary, indent=2))
    return 1 if tally.found else 0


if __name__ == "__main__":
    sys.exit(main())
