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
from spikec.ui import Ui, percent


@app.command(epilog=EPILOGS["compile"])
def compile(
    model: Annotated[Path, typer.Argument(metavar="MODEL.onnx")],
    out: Annotated[Path, typer.Option("-o", "--output", help="Artifact directory to write.")],
    calib: Annotated[Path | None, typer.Option(help="Calibration data, .npz or .npy.")] = None,
    timesteps: Steps = 8,
    max_loss: Annotated[
        float | None,
        typer.Option(help="Find the smallest T that loses at most this share, such as 0.01."),
    ] = None,
    max_timesteps: Annotated[int, typer.Option(min=1, help="With --max-loss: the largest T.")] = 64,
    validate: Annotated[
        Path | None, typer.Option(help="Data (labels y if any) to judge each pass or T on.")
    ] = None,
    target: Annotated[str, typer.Option(help="What to emit; see `spikec targets`.")] = "numpy",
    weight_bits: Annotated[int, typer.Option(min=2, max=8, help="Signed weight width.")] = 8,
    threshold: Annotated[
        str, typer.Option(help="per-channel, per-layer, or per-neuron (v0 alone).")
    ] = "per-channel",
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
        max_loss=max_loss,
        max_timesteps=max_timesteps,
        pass_pipeline=pass_pipeline,
        dump_ir=dump_ir,
        verify_each=verify_each,
        require_proof=require_proof,
        require_fit=require_fit,
        hardware=hardware,
    )
    with ui.progress() as progress:
        data, held = (
            None if path is None else driver.read_calibration(path, model, labels)
            for path, labels in ((calib, max_loss is not None), (validate, True))
        )
        art = driver.compile(model, data, validation=held, options=options, progress=progress)
        art.save(out)
    if time_passes:
        rows = [(name, seconds) for name, seconds in art.seconds.items()]
        ui.table("Time per pass", ["pass", "seconds"], rows)
    report = art.report
    _show_tried(ui, report.get("steps_tried", []), max_loss)
    _show_judged(ui, report["passes"])
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
    _show_simulated(ui, report["mapping"])
    ui.say(f"wrote {out} (T = {art.graph.steps}, {len(report['layers'])} layers, target {target})")
    ui.result(
        {
            "out": str(out),
            "timesteps": art.graph.steps,
            "layers": report["layers"],
            "warnings": report["warnings"],
            "notes": report["notes"],
            "passes": report["passes"],
            "mapping": report["mapping"],
            "steps_tried": report.get("steps_tried"),
            "seconds": time.perf_counter() - start,
        }
    )


def _range(found: dict[str, Any] | None) -> tuple[Any, ...]:
    """Worst-case bits, bits of the state, and whether that is a proof, for a table."""
    if found is None:
        return None, None, None
    return found["bits"], found["state_bits"], found["proven"]


def _show_simulated(ui: Ui, mapping: list[dict[str, Any]]) -> None:
    """What the target holds that no chip is known to do."""
    rows: dict[tuple[str, str], list[str]] = {}
    for row in mapping:
        if not row["chip"]:
            rows.setdefault((row["what"], row["how"]), []).append(f"%{row['layer']}")
    for (what, how), layers in rows.items():
        more = f" and {len(layers) - 3} more" if len(layers) > 3 else ""
        ui.say(f"note: only in Lava's CPU simulation: {what} ({how}): "
               f"{', '.join(layers[:3])}{more}")  # fmt: skip


def _show_tried(ui: Ui, tried: list[dict[str, Any]], max_loss: float | None) -> None:
    """The numbers of time steps that --max-loss tried."""
    if not tried or max_loss is None:
        return
    rows = [(r["timesteps"], percent(r["accuracy"]), percent(r["agreement"]), percent(r["loss"]),
             f"±{r['standard_error']:.1%}", r["loss"] <= max_loss) for r in tried]  # fmt: skip
    judged = "accuracy" if tried[0]["accuracy"] is not None else "agreement with the ANN"
    ui.table(f"Loss of {judged} on {tried[0]['samples']} samples not calibrated on",
             ["T", "accuracy", "agrees", "loss", "std. error", "enough"], rows)  # fmt: skip


def _show_judged(ui: Ui, passes: list[dict[str, Any]]) -> None:
    """What each pass bought: calibration errors, and accuracy on validation data."""
    rows = []
    for each in passes:
        layers = [v for v in each["layers"].values() if "error_after" in v]
        if not layers and not each["judged"]:
            continue
        before, after = (
            sum(v[key] for v in layers) / len(layers) if layers else None
            for key in ("error_before", "error_after")
        )
        judged = each["judged"]
        rows.append((each["name"], before, after, percent(judged.get("accuracy")),
                     percent(judged.get("agreement"))))  # fmt: skip
    ui.table("What each pass did (error: mean over layers, before and after the pass)",
             ["pass", "error before", "after", "accuracy", "agrees"], rows)  # fmt: skip
