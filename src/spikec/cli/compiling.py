"""`compile`."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated, Any

import typer

from spikec import driver
from spikec.cli.app import (
    Debug,
    Json,
    Quiet,
    Steps,
    app,
)
from spikec.cli.text import EPILOGS
from spikec.ui import Ui


@app.command(epilog=EPILOGS["compile"])
def compile(
    model: Annotated[Path, typer.Argument(metavar="MODEL.onnx")],
    out: Annotated[Path, typer.Option("-o", "--output", help="Artifact directory to write.")],
    calib: Annotated[Path | None, typer.Option(help="Calibration data, .npz or .npy.")] = None,
    timesteps: Steps = 8,
    target: Annotated[str, typer.Option(help="What to emit; see `spikec targets`.")] = "numpy",
    weight_bits: Annotated[int, typer.Option(min=2, max=8, help="Signed weight width.")] = 8,
    threshold: Annotated[str, typer.Option(help="per-channel or per-layer.")] = "per-channel",
    dni: Annotated[str, typer.Option(help="on: v0 and theta from data; half; off: 0.")] = "on",
    snm: Annotated[str, typer.Option(help="Signed neurons: auto (gated), on or off.")] = "auto",
    spikes: Annotated[
        str, typer.Option(help="binary, or graded: payloads 1, 2, 4, ... (instead of --snm).")
    ] = "binary",
    payload_bits: Annotated[
        int, typer.Option(min=1, max=3, help="Graded: 2^N payloads; the sign is one bit more.")
    ] = 2,
    bias_correction: Annotated[str, typer.Option(help="on or off.")] = "on",
    reconstruct: Annotated[
        str, typer.Option(help="Refit weights to real spikes: on or off.")
    ] = "on",
    samples: Annotated[int, typer.Option(min=1, help="Calibration samples to use.")] = 256,
    schedule: Annotated[
        str, typer.Option(help="synchronous, or layerwise: exactly the quantised ANN.")
    ] = "synchronous",
    seed: Annotated[int, typer.Option(help="Seeds every random choice.")] = 0,
    require_proof: Annotated[
        bool, typer.Option("--require-proof", help="Refuse layers that might overflow.")
    ] = False,
    require_fit: Annotated[
        bool, typer.Option("--require-fit", help="Refuse a network that exceeds the hardware.")
    ] = False,
    hardware: Annotated[
        Path | None, typer.Option(help="TOML or JSON with figures of your hardware.")
    ] = None,
    pass_pipeline: Annotated[str | None, typer.Option(help="Passes to run instead.")] = None,
    dump_ir: Annotated[Path | None, typer.Option(help="Write the graph after each pass.")] = None,
    time_passes: Annotated[bool, typer.Option(help="Show the time of each pass.")] = False,
    verify_each: Annotated[bool, typer.Option(help="Verify after each pass.")] = True,
    json: Json = False,
    quiet: Quiet = False,
    debug: Debug = False,
) -> None:
    """Compile an ONNX model into an integer spiking network."""
    ui, start = Ui(json, quiet), time.perf_counter()
    options = driver.Options(
        timesteps=timesteps,
        target=target,
        weight_bits=weight_bits,
        threshold=threshold,
        dni=dni,
        snm=snm,
        spikes=spikes,
        payload_bits=payload_bits,
        bias=bias_correction,
        reconstruct=reconstruct,
        samples=samples,
        seed=seed,
        schedule=schedule,
        pass_pipeline=pass_pipeline,
        dump_ir=dump_ir,
        verify_each=verify_each,
        require_proof=require_proof,
        require_fit=require_fit,
        hardware=hardware,
    )
    with ui.progress() as progress:
        data = None if calib is None else driver.read_calibration(calib, model)
        art = driver.compile(model, data, options=options, progress=progress)
        art.save(out)
    if time_passes:
        rows = [(name, seconds) for name, seconds in art.seconds.items()]
        ui.table("Time per pass", ["pass", "seconds"], rows)
    report = art.report
    errors = [
        (layer["name"], layer["op"], layer["shape"], layer["error_before"],
         next(reversed(layer["error_after"].values()), None), *_range(layer["range"]))
        for layer in report["layers"]
    ]  # fmt: skip
    ui.table(
        "Layers (calibration error: squared, relative to the ANN's activation)",
        ["layer", "neuron", "shape", "error before", "after", "bits", "of", "proven"],
        errors,
    )
    for note in [*report["notes"], *report["warnings"]]:
        ui.say(f"note: {note}")
    for found in report["passes"]:
        if found["name"] in ("range", "place"):
            for note in found["notes"]:
                ui.say(f"note: {note}")
    ui.say(f"wrote {out} (T = {timesteps}, {len(report['layers'])} layers, target {target})")
    ui.result(
        {
            "out": str(out),
            "timesteps": timesteps,
            "layers": report["layers"],
            "warnings": report["warnings"],
            "notes": report["notes"],
            "passes": report["passes"],
            "seconds": time.perf_counter() - start,
        }
    )


def _range(found: dict[str, Any] | None) -> tuple[Any, ...]:
    """Worst-case bits, bits of the state, and whether that is a proof, for a table."""
    if found is None:
        return None, None, None
    return found["bits"], found["state_bits"], found["proven"]
