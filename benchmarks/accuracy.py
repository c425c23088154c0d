"""How much accuracy conversion costs: spikec, its ablations and SpikingJelly's recipes, over T.

    python benchmarks/accuracy.py [--out docs/accuracy.md]
    python benchmarks/accuracy.py --model MODEL.onnx... --calib C.npz --data D.npz [--limit N]

All methods see the same network, calibration images and test images. spikec compiles for each T and
runs its integer network with 8-bit weights; SpikingJelly converts once to a float network. The two
bundled networks are always measured. SpikingJelly, torch and matplotlib are used where installed.
With --cells FILE each result is kept in FILE, and a later run of the same versions measures only
what FILE lacks.
"""

from __future__ import annotations

import argparse
import base64
import hashlib
import json
import platform
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import accuracy_report
import numpy as np
import onnx
import onnxruntime
import recipes
from numpy.typing import NDArray
from onnx_torch import Unsupported

import spikec

EXAMPLES = Path(__file__).resolve().parents[1] / "examples"
STEPS = (1, 2, 4, 8, 16, 32)
Array = NDArray[Any]
Settings = dict[str, Any]

_OFF: Settings = {"dni": "half", "snm": "off", "bias_correction": "off", "reconstruct": "off"}
_PERCENTILE = (
    "channels_first,quantisers,linearise,fold,relay,observe,"
    "qcfs{per=channel v0=zero percentile=99.9},quantise{bits=8},range,place"
)
FULL = "spikec"
RECIPES: dict[str, Settings] = {
    FULL: {},
    "spikec, graded spikes": {"spikes": "graded"},
    "spikec, layerwise": {"schedule": "layerwise"},
}
ABLATIONS: dict[str, Settings] = {
    "without DNI": {"dni": "half"},
    "without SNM": {"snm": "off"},
    "without bias": {"bias_correction": "off"},
    "without reconstruct": {"reconstruct": "off"},
    "reconstruct + bias": {"dni": "half", "snm": "off"},
    "DNI + SNM": {"bias_correction": "off", "reconstruct": "off"},
    "reconstruct only": {**_OFF, "reconstruct": "on"},
    "bias only": {**_OFF, "bias_correction": "on"},
    "DNI only": {**_OFF, "dni": "on"},
    "SNM only": {**_OFF, "snm": "auto"},
    "QCFS only": _OFF,
    "99.9 %, v0 = 0": {"pass_pipeline": _PERCENTILE},
}


@dataclass
class Network:
    """A network, its data, and which images each method got right."""

    name: str
    model: bytes
    calib: Array
    x: Array
    y: Array
    right: dict[str, dict[int, Array]] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    @property
    def key(self) -> str:
        """What the results depend on, besides the method."""
        digest = hashlib.sha256(self.model)
        for array in (self.calib, self.x, self.y):
            digest.update(np.ascontiguousarray(array).tobytes())
        return f"{self.name} {digest.hexdigest()[:16]} {versions()}"

    def ann(self) -> float:
        """Accuracy of the ONNX model in onnxruntime."""
        session = onnxruntime.InferenceSession(self.model)
        name = session.get_inputs()[0].name
        parts = [
            session.run(None, {name: self.x[i : i + 100].astype(np.float32)})[0].argmax(axis=1)
            for i in range(0, len(self.x), 100)
        ]
        return float((np.concatenate(parts) == self.y).mean())

    def add(self, method: str, steps: int, classes: Array) -> None:
        self.right.setdefault(method, {})[steps] = classes == self.y


class Cells:
    """Results on disk, so that a run that was interrupted can go on."""

    def __init__(self, path: Path | None) -> None:
        self.path = path
        self.known: dict[str, str] = {}
        if path is not None and path.exists():
            self.known = json.loads(path.read_text(encoding="utf-8"))

    def load(self, network: Network) -> None:
        for key, packed in self.known.items():
            owner, method, steps = key.split(" | ")
            if owner == network.key:
                bits = np.frombuffer(base64.b64decode(packed), np.uint8)
                right = np.unpackbits(bits, count=len(network.y)).astype(bool)
                network.right.setdefault(method, {})[int(steps)] = right

    def save(self, network: Network) -> None:
        if self.path is None:
            return
        for method, found in network.right.items():
            for steps, right in found.items():
                packed = base64.b64encode(np.packbits(right).tobytes()).decode()
                self.known[f"{network.key} | {method} | {steps}"] = packed
        self.path.write_text(json.dumps(self.known, indent=0), encoding="utf-8")


def measure(
    network: Network, methods: dict[str, Settings], steps: Sequence[int], cells: Cells
) -> None:
    """Fill in what a network lacks."""
    cells.load(network)
    start = time.perf_counter()

    def say(what: str) -> None:
        print(f"{network.name}: {what} ({time.perf_counter() - start:.0f} s)", flush=True)

    reason = recipes.unavailable()
    if reason is None and not all(
        set(steps) <= set(network.right.get(n, ())) for n in recipes.NAMES
    ):
        try:
            model = onnx.load_from_string(network.model)
            classes = recipes.measure(model, network.calib, network.x, steps, say)
            for method, found in classes.items():
                for t in steps:
                    network.add(method, t, found[t])
            cells.save(network)
        except Unsupported as error:
            reason = str(error)
    if reason is not None:
        network.notes.append(f"SpikingJelly's recipes were not measured: {reason}.")
        say(network.notes[-1])
    for method, settings in methods.items():
        for t in steps:
            if t in network.right.get(method, {}):
                continue
            try:
                art = spikec.compile(network.model, network.calib, timesteps=t, **settings)
                network.add(method, t, art.run(network.x).argmax(axis=1))
            except spikec.SpikecError as error:
                network.notes.append(f"{method}, T = {t}: {error}")
            cells.save(network)
        found = network.right.get(method, {})
        shown = ", ".join(f"{100 * found[t].mean():.1f}" for t in steps if t in found)
        say(f"{method}: {shown}")


def versions() -> str:
    """The versions of all that takes part."""
    found = [f"Python {platform.python_version()}"]
    for name in ("spikec", "onnxruntime", "numpy", "torch", "spikingjelly"):
        try:
            found.append(f"{name} {version(name)}")
        except PackageNotFoundError:
            found.append(f"{name} not installed")
    return ", ".join(found)


def images(path: Path, *roles: str) -> Array:
    """The first of some arrays that an archive holds."""
    with np.load(path, allow_pickle=False) as archive:
        return np.asarray(archive[next(role for role in roles if role in archive)])


def network(path: Path, calib: Path, data: Path, limit: int | None) -> Network:
    """A network with its data, `limit` test images if given."""
    x, y = images(data, "x")[:limit], images(data, "y")[:limit]
    return Network(path.stem, path.read_bytes(), images(calib, "x_calib", "x"), x, y)


def main() -> None:
    """Measure and write the report."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--model", nargs="+", type=Path, default=[], help="more networks")
    parser.add_argument("--calib", type=Path, help="calibration images x of MODEL...")
    parser.add_argument("--data", type=Path, help="test images x and labels y of MODEL...")
    parser.add_argument("--limit", type=int, help="test images of each network")
    parser.add_argument("--steps", default=",".join(map(str, STEPS)), help="numbers of time steps")
    parser.add_argument("--methods", nargs="+", help="spikec's methods, by name in the tables")
    parser.add_argument("--cells", type=Path, help="JSON file of results, read and written")
    parser.add_argument("--out", type=Path, help="Markdown file; printed if not given")
    options = parser.parse_args()
    if options.model and (options.calib is None or options.data is None):
        parser.error("--model needs --calib and --data")
    steps = sorted({int(t) for t in options.steps.split(",")})
    small = EXAMPLES / "fashion_mnist_small.npz"
    names = ("fashion_resnet8.onnx", "fashion_qcfs_vgg.onnx")
    networks = [network(EXAMPLES / name, small, small, options.limit) for name in names]
    networks += [network(m, options.calib, options.data, options.limit) for m in options.model]
    methods = {**RECIPES, **ABLATIONS}
    if unknown := set(options.methods or ()) - set(methods):
        parser.error(f"no such method: {', '.join(unknown)}; there are: {'; '.join(methods)}")
    methods = {name: methods[name] for name in options.methods or methods}
    cells = Cells(options.cells)
    for each in networks:
        measure(each, methods, steps, cells)
    results = [
        accuracy_report.Result(n.name, n.ann(), len(n.calib), len(n.y), n.right, n.notes)
        for n in networks
    ]
    groups = {
        "Recipes": [*RECIPES, *recipes.NAMES],
        "Parts of spikec's recipe": [FULL, *ABLATIONS],
    }
    accuracy_report.write(results, groups, steps, versions(), options.out)


if __name__ == "__main__":
    main()
