# mypy: disable-error-code="import-not-found"
"""Runs the network on real or coded integer inputs.

    python run.py --input images.npy --real --output predictions.npz

Exit codes: 0 fine, 1 the run failed, 2 wrong usage, 3 a current or potential left its range.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import signal
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")  # each layer is a process of its own

import lava_compat  # noqa: F401  before Lava
import network
import numpy as np
from guard import SIGNALS, LavaError, end_with_parent, run

HERE = Path(__file__).resolve().parent


def main() -> int:
    """Run; returns the exit code."""
    options = _options()
    signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)  # blocked by who starts it unwatched
    if options.end_with_parent is not None:
        end_with_parent(signal.SIGTERM)
        if os.getppid() != options.end_with_parent:  # it ended before it was asked for
            return 128 + signal.SIGTERM
    signal.signal(signal.SIGTERM, lambda number, _: sys.exit(128 + number))
    inputs = _inputs(options.input, options.steps, real=options.real)
    with contextlib.ExitStack() as stack:
        scratch = options.scratch and str(options.scratch.resolve())
        scratch = scratch or stack.enter_context(tempfile.TemporaryDirectory(prefix="lava-"))
        tempfile.tempdir = scratch  # of Lava's processes, too
        try:
            results = _run(options, inputs, Path(scratch))
        except LavaError as fault:
            return _report(fault, options.fault)
        except KeyboardInterrupt:
            print("interrupted", file=sys.stderr)
            return 128 + signal.SIGINT
    np.savez(options.output, **results)
    return 0


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=network.__doc__)
    add = parser.add_argument
    add(
        "--input",
        type=Path,
        required=True,
        metavar="X.npy",
        help=f"integers (samples, *shape), or .npz with one array for each of "
        f"{', '.join(network.INPUTS)}",
    )
    add("--real", action="store_true", help="the input is what the model takes: code it first")
    add("--output", type=Path, default=Path("predictions.npz"), help="what to write")
    add("--steps", type=int, default=network.STEPS, help="time steps per sample")
    add("--spikes", action="store_true", help="write the spikes of all layers, too")
    add(
        "--trace",
        nargs="*",
        metavar="LAYER",
        help="write spikes and potentials of these layers, of all if none is named",
    )
    add("--tag", choices=("fixed_pt", "floating_pt"), default="fixed_pt", help="process models")
    add("--timeout", type=float, default=3600.0, help="seconds until the run is given up")
    add("--scratch", type=Path, metavar="FOLDER", help="put temporary files here, and leave them")
    add("--fault", type=Path, metavar="FILE", help="write a failure here, as JSON")
    add("--end-with-parent", type=int, metavar="PID", help="stop when the calling process ends")
    options = parser.parse_args()
    unknown = set(options.trace or ()) - {*network.LAYERS, *network.READOUTS}
    if unknown:
        parser.error(f"no layer {', '.join(sorted(unknown))}")
    if options.steps < 1:
        parser.error("--steps must be at least 1")
    if options.steps != network.STEPS and not network.ANY_STEPS:
        parser.error(f"this network runs for {network.STEPS} steps only")
    return options


def _inputs(path: Path, steps: int, *, real: bool) -> dict[str, Any]:
    """Input name to integers (samples, *shape), checked against what the network takes."""
    loaded = np.load(path)
    names = list(network.INPUTS)
    arrays = {names[0]: loaded} if isinstance(loaded, np.ndarray) else dict(loaded)
    if real:
        arrays = {name: _code(name, x, steps) for name, x in arrays.items() if name in names}
    for name, (_, low, high) in network.INPUTS.items():
        x = arrays.get(name)
        if x is None or not _fits(name, x, steps) or x.dtype.kind not in "iu" or len(x) == 0:
            sys.exit(f"{path}: input {name} must be integers {_expected(name, steps)}")
        if x.min() < low or x.max() > high:
            sys.exit(f"{path}: input {name} must lie in {low} to {high}")
    if len({len(x) for x in arrays.values()}) != 1:
        sys.exit(f"{path}: all inputs need the same number of samples")
    return arrays


def _fits(name: str, x: Any, steps: int) -> bool:
    """Whether an input has the right shape: of frames at least one for each step."""
    framed = name in network.FRAMES
    return x.shape[1 + framed :] == network.INPUTS[name][0] and (not framed or x.shape[1] >= steps)


def _expected(name: str, steps: int) -> str:
    """The shape of an input."""
    frames = f"{steps}, " if name in network.FRAMES else ""
    return f"(samples, {frames}{str(network.INPUTS[name][0])[1:]}"


def _code(name: str, x: Any, steps: int) -> Any:
    """The integers that stand for real inputs (samples, *shape)."""
    _, low, high = network.INPUTS[name]
    if not _fits(name, x, steps) or not np.isfinite(x).all():
        sys.exit(f"input {name} must be finite numbers {_expected(name, steps)}")
    with np.load(HERE / "weights.npz") as w:
        scale, offset = w.get(f"{name}.scale", 1.0), w.get(f"{name}.offset", 0.0)
    return np.clip(np.rint((x.astype(float) - offset) / scale), low, high).astype(np.int32)


def _run(options: argparse.Namespace, inputs: dict[str, Any], scratch: Path) -> dict[str, Any]:
    """Run all samples; returns what `--output` gets."""
    started = time.monotonic()
    weights = dict(np.load(HERE / "weights.npz"))
    samples = len(next(iter(inputs.values())))
    block = network.SAMPLES_PER_RUN or samples
    parts = []
    for first in range(0, samples, block):
        part = {name: x[first : first + block] for name, x in inputs.items()}
        left = options.timeout - (time.monotonic() - started)
        parts.append(_run_block(options, weights, part, scratch, first, left))
    results = {key: np.concatenate([part[key] for part in parts], axis=1) for key in parts[0]}
    seconds = time.monotonic() - started
    print(f"{samples} samples in {seconds:.1f} s", file=sys.stderr)
    return results | _logits(results, weights, options.steps)


def _run_block(
    options: argparse.Namespace,
    weights: dict[str, Any],
    inputs: dict[str, Any],
    scratch: Path,
    first: int,
    timeout: float,
) -> dict[str, Any]:
    """Build the network, run it once and read the traces back."""
    layers = network.build(weights, inputs, options.steps, options.tag)
    files = _trace(options, layers, scratch)
    samples = len(next(iter(inputs.values())))
    total = samples * options.steps + network.DEPTH
    readout = layers[next(iter(network.READOUTS))]
    try:
        run(readout, total, options.tag, timeout)
    except LavaError as fault:
        if overflow := _overflow(fault):
            overflow["sample"] += first
        raise
    return {key: _per_sample(np.load(path), options.steps) for key, path in files.items()}


def _trace(options: argparse.Namespace, layers: dict[str, Any], scratch: Path) -> dict[str, Path]:
    """Let the layers write what is asked for; returns the files by their key in `--output`."""
    traced = {*network.LAYERS, *network.READOUTS} if options.trace == [] else options.trace or ()
    files: dict[str, Path] = {}
    for name, layer in layers.items():
        if name in network.LAYERS and (options.spikes or name in traced):
            files[f"spikes/{name}"] = scratch / f"{name}.spikes.npy"
        if name in network.READOUTS or name in traced:
            files[f"potentials/{name}"] = scratch / f"{name}.potentials.npy"
        paths = {kind: files.get(f"{kind}/{name}") for kind in ("spikes", "potentials")}
        layer.trace(**{kind: path and str(path) for kind, path in paths.items()})
    return files


def _per_sample(trace: Any, steps: int) -> Any:
    """(samples * steps, *shape) as (steps, samples, *shape)."""
    return trace.reshape(-1, steps, *trace.shape[1:]).swapaxes(0, 1)


def _logits(results: dict[str, Any], weights: dict[str, Any], steps: int) -> dict[str, Any]:
    """The first readout's result in real numbers: (samples, *shape)."""
    name = next(iter(network.READOUTS))
    scale = weights.get(network.READOUTS[name], 1.0)
    weight = (1 << steps) - 1 if network.RADIX else steps
    return {"logits": results[f"potentials/{name}"][-1] * scale / weight}


def _overflow(fault: LavaError) -> dict[str, Any] | None:
    """What left its range, if that is the fault."""
    cause = fault.cause
    details = cause.args[0] if isinstance(cause, OverflowError) and cause.args else None
    return details if isinstance(details, dict) else None


def _report(fault: LavaError, path: Path | None) -> int:
    """Say on stderr and in `path` what went wrong; returns the exit code."""
    overflow = _overflow(fault)
    if overflow:
        message = (
            "{what} of layer {layer} reaches {value} at neuron {neuron}, step {step}, "
            "sample {sample}; it must stay in {limits}"
        ).format_map(overflow)
    else:
        message = str(fault)
    print(message, file=sys.stderr)
    if path is not None:
        path.write_text(json.dumps({"message": message, "overflow": overflow}))
    return 3 if overflow else 1


if __name__ == "__main__":
    sys.exit(main())
