# mypy: disable-error-code="import-not-found"
"""Runs the network on coded integer inputs.

    python run.py --input images.npy --output predictions.npz

Exit codes: 0 fine, 1 the run failed, 2 wrong usage, 3 a current or potential left its range.
"""

from __future__ import annotations

import argparse
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
from guard import LavaError, end_with_parent, run

HERE = Path(__file__).resolve().parent


def main() -> int:
    """Run; returns the exit code."""
    options = _options()
    if options.end_with_parent:
        end_with_parent(signal.SIGTERM)
    signal.signal(signal.SIGTERM, lambda number, _: sys.exit(128 + number))
    inputs = _inputs(options.input)
    with tempfile.TemporaryDirectory(prefix="lava-") as scratch:
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
    add("--input", type=Path, required=True, metavar="X.npy",
        help=f"coded integers (samples, *shape), or .npz with one array for each of "
             f"{', '.join(network.INPUTS)}")  # fmt: skip
    add("--output", type=Path, default=Path("predictions.npz"), help="what to write")
    add("--steps", type=int, default=network.STEPS, help="time steps per sample")
    add("--spikes", action="store_true", help="write the spikes of all layers, too")
    add("--trace", nargs="*", metavar="LAYER", help="write spikes and potentials of these layers, "
        "of all if none is named")  # fmt: skip
    add("--tag", choices=("fixed_pt", "floating_pt"), default="fixed_pt", help="process models")
    add("--timeout", type=float, default=3600.0, help="seconds until the run is given up")
    add("--fault", type=Path, metavar="FILE", help="write a failure here, as JSON")
    add("--end-with-parent", action="store_true", help="stop when the calling process ends")
    options = parser.parse_args()
    unknown = set(options.trace or ()) - {*network.LAYERS, *network.READOUTS}
    if unknown:
        parser.error(f"no layer {', '.join(sorted(unknown))}")
    if options.steps < 1:
        parser.error("--steps must be at least 1")
    return options


def _inputs(path: Path) -> dict[str, Any]:
    """Input name to integers (samples, *shape), checked against what the network takes."""
    loaded = np.load(path)
    names = list(network.INPUTS)
    found = {names[0]: loaded} if isinstance(loaded, np.ndarray) else dict(loaded)
    for name, (shape, low, high) in network.INPUTS.items():
        x = found.get(name)
        if x is None or x.shape[1:] != shape or x.dtype.kind not in "iu" or len(x) == 0:
            sys.exit(f"{path}: input {name} must be integers (samples, {str(shape)[1:]}")
        if x.min() < low or x.max() > high:
            sys.exit(f"{path}: input {name} must lie in {low} to {high}")
    if len({len(x) for x in found.values()}) != 1:
        sys.exit(f"{path}: all inputs need the same number of samples")
    return found


def _run(options: argparse.Namespace, inputs: dict[str, Any], scratch: Path) -> dict[str, Any]:
    """Build, run and read the traces back."""
    started = time.monotonic()
    weights = dict(np.load(HERE / "weights.npz"))
    layers = network.build(weights, inputs, options.steps, options.tag)
    traced = {*network.LAYERS, *network.READOUTS} if options.trace == [] else options.trace or ()
    files: dict[str, Path] = {}
    for name, layer in layers.items():
        if name in network.LAYERS and (options.spikes or name in traced):
            files[f"spikes/{name}"] = scratch / f"{name}.spikes.npy"
        if name in network.READOUTS or name in traced:
            files[f"potentials/{name}"] = scratch / f"{name}.potentials.npy"
        paths = {kind: files.get(f"{kind}/{name}") for kind in ("spikes", "potentials")}
        layer.trace(**{kind: path and str(path) for kind, path in paths.items()})
    samples = len(next(iter(inputs.values())))
    total = samples * options.steps + network.DEPTH
    run(next(iter(layers.values())), total, options.tag, options.timeout)
    results = {key: _per_sample(np.load(path), options.steps) for key, path in files.items()}
    seconds = time.monotonic() - started
    print(f"{samples} samples, {total} time steps in {seconds:.1f} s", file=sys.stderr)
    return results | _logits(results, weights, options.steps)


def _per_sample(trace: Any, steps: int) -> Any:
    """(samples * steps, *shape) as (steps, samples, *shape)."""
    return trace.reshape(-1, steps, *trace.shape[1:]).swapaxes(0, 1)


def _logits(results: dict[str, Any], weights: dict[str, Any], steps: int) -> dict[str, Any]:
    """The first readout's result in real numbers: (samples, *shape)."""
    name = next(iter(network.READOUTS))
    scale = weights.get(network.READOUTS[name], 1.0)
    return {"logits": results[f"potentials/{name}"][-1] * scale / steps}


def _report(fault: LavaError, path: Path | None) -> int:
    """Say on stderr and in `path` what went wrong; returns the exit code."""
    cause = fault.cause
    overflow = cause.args[0] if isinstance(cause, OverflowError) and cause.args else None
    if isinstance(overflow, dict):
        message = (
            "{what} of layer {layer} reaches {value} at neuron {neuron}, step {step}, "
            "sample {sample}; it must stay in {limits}"
        ).format_map(overflow)
    else:
        overflow, message = None, str(fault)
    print(message, file=sys.stderr)
    if path is not None:
        path.write_text(json.dumps({"message": message, "overflow": overflow}))
    return 3 if overflow else 1


if __name__ == "__main__":
    sys.exit(main())
