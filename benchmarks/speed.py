"""How fast the fast engine is: against onnxruntime, the reference, SpikingJelly and Lava.

    python benchmarks/speed.py MODEL.onnx... [--data DATA.npz] [--tables main batch]
        [--out docs/performance.md]

Each figure is a minimum over repeats; engines that are compared alternate in one process. Those of
one thread are CPU time of the calling thread, so that other work on the machine disturbs them
little; figures of all cores are wall time. SpikingJelly and matplotlib are used where installed.
"""

from __future__ import annotations

import argparse
import os
import platform
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import zip_longest
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import peers
import report
import widths
from numpy.typing import NDArray

import spikec
from spikec.backends import engine
from spikec.ir import RangeError
from spikec.runtime.coding import encode
from spikec.runtime.fast import simulate
from spikec.runtime.fast.engine import plan_for
from spikec.runtime.fast.steps import Fire

EXAMPLES = Path(__file__).resolve().parents[1] / "examples"
STEPS, BATCH = 8, 64
Array = NDArray[Any]
Rows = list[dict[str, Any]]


@dataclass
class Subject:
    """A compiled network and the ONNX model that it came from."""

    name: str
    graph: Any
    model: bytes
    data: Array
    sessions: dict[int, Any] = field(default_factory=dict)

    def samples(self, batch: int) -> Array:
        """The first `batch` samples, repeated where there are fewer."""
        return np.resize(self.data, (batch, *self.data.shape[1:]))

    def feeds(self, batch: int) -> dict[str, Array]:
        """Coded inputs."""
        return encode(self.graph, {self.graph.inputs[0].name: self.samples(batch)}).feeds

    def ann(self, batch: int, threads: int) -> Callable[[], Any]:
        """One float32 inference in onnxruntime."""
        if threads not in self.sessions:
            options = onnxruntime.SessionOptions()
            options.intra_op_num_threads = threads
            self.sessions[threads] = onnxruntime.InferenceSession(self.model, options)
        session, x = self.sessions[threads], self.samples(batch)
        feeds = {session.get_inputs()[0].name: x.astype(np.float32)}
        return lambda: session.run(None, feeds)

    def fast(self, batch: int, steps: int, threads: int) -> Callable[[], Any]:
        """One run of all steps in the fast engine, events included."""
        feeds = self.feeds(batch)
        return lambda: simulate(self.graph, feeds, steps, threads=threads)


def clock(threads: int) -> Callable[[], float]:
    """CPU time for one thread, else wall time."""
    return time.thread_time if threads == 1 else time.perf_counter


def best(
    runs: list[Callable[[], Any]], repeats: int, now: Callable[[], float], pause: float = 0
) -> list[float]:
    """Minimal milliseconds of each of several runs that alternate, with `pause` seconds between."""
    for run in runs:
        run()
    found = [float("inf")] * len(runs)
    for _ in range(repeats):
        for i, run in enumerate(runs):
            time.sleep(pause)
            start = now()
            run()
            found[i] = min(found[i], 1e3 * (now() - start))
    return found


def compare(subject: Subject, batch: int, steps: int, threads: int, repeats: int) -> dict[str, Any]:
    """The fast engine beside the ANN."""
    runs = [subject.fast(batch, steps, threads), subject.ann(batch, threads)]
    pause = 0.1 if threads > 1 else 0  # onnxruntime's threads spin for a while after a run
    fast, ann = best(runs, repeats, clock(threads), pause)
    return {
        "network": subject.name,
        "T": steps,
        "batch": batch,
        "threads": threads,
        "fast ms": fast,
        "ANN ms": ann,
        "ratio": fast / ann,
        "ratio per step": fast / ann / steps,
        "sums": sums(subject.graph, steps, batch),
    }


def sums(graph: Any, steps: int, batch: int) -> str:
    """The kinds of sums that layers run by."""
    plan = plan_for(graph, steps, batch)
    if plan.images:
        return "few samples"
    fixed = [s.layer.fixed for s in plan.program if isinstance(s, Fire) and s.layer is not None]
    kinds = {"tiles" if f.hardware else "lookups" if f.lookups else "products" for f in fixed}
    return ", ".join(sorted(kinds))


def others(subject: Subject, repeats: int) -> Rows:
    """One-thread speed beside engines that are much slower, per sample."""
    now, rows = clock(1), []
    (fast,) = best([subject.fast(BATCH, STEPS, 1)], repeats, now)
    fast /= BATCH
    few = subject.feeds(4)
    reference = engine("reference")
    (slow,) = best([lambda: reference(subject.graph, few, STEPS, ())], 2, time.perf_counter)
    rows.append({"engine": "reference", "ms per sample": slow / 4, "times slower": slow / 4 / fast})
    torch_run = peers.spikingjelly(subject.graph, subject.feeds(BATCH), STEPS)
    if torch_run is not None:
        (slow,) = best([torch_run], 3, now)
        slow /= BATCH
        rows.append({"engine": "SpikingJelly", "ms per sample": slow, "times slower": slow / fast})
    lava_ms = peers.lava(subject.graph, subject.feeds(1), STEPS)
    if lava_ms is not None:
        rows.append({"engine": "Lava", "ms per sample": lava_ms, "times slower": lava_ms / fast})
    return [{"network": subject.name, "fast ms per sample": fast, **row} for row in rows]


def over_steps(subject: Subject, repeats: int) -> Rows:
    """Over T, up to where potentials of a network that was compiled for T = 8 still fit."""
    rows: Rows = []
    for steps in (1, 2, 4, 8, 16, 32):
        try:
            rows.append(compare(subject, BATCH, steps, 1, repeats))
        except RangeError:
            break
    return rows


def measure(
    subjects: list[Subject], repeats: int, calib: Array, wanted: list[str]
) -> dict[str, Rows]:
    """The tables that are wanted."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    cores = cores or 1
    tables: dict[str, Rows] = {name: [] for name in wanted}
    for each in subjects:
        if "main" in wanted:
            for threads in sorted({1, cores}):
                tables["main"].append(compare(each, BATCH, STEPS, threads, repeats))
            tables["main"].append(compare(each, 4 * BATCH, STEPS, cores, repeats))
        if "steps" in wanted:
            tables["steps"] += over_steps(each, repeats)
        if "batch" in wanted:
            sizes = (1, 4, 16, 32, 64, 256)
            tables["batch"] += [compare(each, n, STEPS, 1, repeats) for n in sizes]
        if "codings" in wanted:
            tables["codings"] += codings(each.name, each.model, each.data, calib, repeats)
        if "others" in wanted:
            tables["others"] += others(each, repeats)
        print(f"{each.name} measured", flush=True)
    for width in (8, 16, 32, 64, 128) if "width" in wanted else ():
        model = widths.vgg(width)
        graph = spikec.compile(model, calib, timesteps=STEPS, samples=32, snm="on").graph
        each = Subject(f"width {width}", graph, model, calib)
        tables["width"].append(compare(each, BATCH, STEPS, 1, repeats))
    return tables


CODINGS: dict[str, dict[str, Any]] = {
    "unit spikes": {},
    "powers of two": {"spikes": "graded"},
    "integers of 4 bits": {"spikes": "graded", "payload": "integer", "payload_bits": 4},
    "integers of 8 bits": {"spikes": "graded", "payload": "integer", "payload_bits": 8},
    "windows": {"schedule": "layerwise"},
    "windows of integers": {
        "schedule": "layerwise", "spikes": "graded", "payload": "integer", "payload_bits": 4,
    },
    "radix": {"schedule": "layerwise", "code": "radix"},
}  # fmt: skip
"""What spikes may carry."""


def codings(name: str, model: bytes, data: Array, calib: Array, repeats: int) -> Rows:
    """A network compiled for spikes of every kind, in few steps and for one sample."""
    rows: Rows = []
    for coding, options in CODINGS.items():
        for steps in (2, 4):
            art = spikec.compile(model, calib, timesteps=steps, samples=64, **options)
            subject = Subject(f"{name}, {coding}", art.graph, model, data)
            rows += [compare(subject, batch, steps, 1, repeats) for batch in (1, BATCH)]
    return rows


def machine() -> str:
    """The processor and the versions that were measured."""
    cpu = platform.processor() or platform.machine()
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        cpu = next(line.split(":")[1].strip() for line in lines if line.startswith("model name"))
        family = {
            line.split(":")[0].strip(): line.split(":")[1].strip() for line in lines if ":" in line
        }
        cpu += f" (family {family.get('cpu family')}, model {family.get('model')})"
    except (OSError, StopIteration):
        pass
    count = os.cpu_count()
    versions = f"Python {platform.python_version()}, onnxruntime {onnxruntime.__version__}"
    return f"{cpu}, {count} cores, {versions}"


def main() -> None:
    """Measure and write the report."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("models", nargs="*", type=Path, default=[EXAMPLES / "fashion_resnet8.onnx"])
    parser.add_argument("--data", type=Path, default=EXAMPLES / "fashion_mnist_small.npz")
    parser.add_argument("--calib", type=Path, help="as DATA by default")
    parser.add_argument("--artifacts", nargs="*", type=Path, help="of MODEL..., else compiled")
    parser.add_argument("--repeats", type=int, default=8)
    parser.add_argument("--tables", nargs="*", choices=report.TITLES, default=list(report.TITLES))
    parser.add_argument("--out", type=Path, help="Markdown file; printed if not given")
    options = parser.parse_args()
    data = _images(options.data)
    calib = data if options.calib is None else _images(options.calib)
    subjects = []
    for path, folder in zip_longest(options.models, options.artifacts or []):
        compiled = folder and spikec.load(folder)
        graph = (compiled or spikec.compile(path, calib, timesteps=STEPS)).graph
        subjects.append(Subject(path.stem, graph, path.read_bytes(), data))
        print(f"{path.stem} compiled", flush=True)
    tables = measure(subjects, options.repeats, calib, options.tables)
    report.write(tables, machine(), options.out)


def _images(path: Path) -> Array:
    with np.load(path, allow_pickle=False) as archive:
        return np.asarray(archive["x"])


if __name__ == "__main__":
    main()
