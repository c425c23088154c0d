"""The command line."""

from __future__ import annotations

import os
import signal
import sys
import time
from pathlib import Path
from typing import Annotated, Any, NoReturn

import typer

from spikec import bisect, driver
from spikec.backends import BACKENDS
from spikec.cli_text import EPILOGS
from spikec.ir import OPS, SpikecError, UsageError
from spikec.runtime.data import Dataset, read_dataset
from spikec.ui import Ui, percent, print_error

app = typer.Typer(
    name="spikec",
    no_args_is_help=True,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    help="Compile ONNX models to spiking networks on neuromorphic hardware.",
)

_BadUsage: Any = next(k for k in typer.BadParameter.__mro__ if k.__name__ == "ClickException")
"""Base of usage errors; newer versions of typer bring their own copy of click."""
_INTERRUPTED = 130
"""What typer returns after Ctrl-C."""

Json = Annotated[bool, typer.Option("--json", help="One JSON object on stdout.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="No progress and no tables.")]
Debug = Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")]
Out = Annotated[Path, typer.Argument(metavar="OUT", help="Artifact directory.")]
Data = Annotated[Path, typer.Option("--data", help=".npz with x (and y), or .npy.")]
Limit = Annotated[int | None, typer.Option(min=1, help="Use the first N samples.")]
Steps = Annotated[int, typer.Option(min=1, help="Time steps T.")]


def _steps(text: str | None) -> list[int]:
    try:
        return [int(part) for part in text.split(",")] if text else []
    except ValueError:
        raise UsageError(f"--timesteps takes integers such as 1,2,4,8, not '{text}'") from None


def _data(path: Path, art: driver.Artifact, limit: int | None, labels: bool = True) -> Dataset:
    return read_dataset(path, art.graph, labels=labels).head(limit)


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


@app.command(epilog=EPILOGS["run"])
def run(
    out: Out,
    data: Data,
    engine: Annotated[str, typer.Option(help="reference, fast or lava.")] = "fast",
    stage: Annotated[str, typer.Option(help="int, or float before quantisation.")] = "int",
    limit: Limit = None,
    output: Annotated[Path | None, typer.Option("-o", "--output", help="An .npz.")] = None,
    trace: Annotated[bool, typer.Option(help="Also write spikes and potentials.")] = False,
    json: Json = False,
    quiet: Quiet = False,
    debug: Debug = False,
) -> None:
    """Run a compiled network on data."""
    ui, art = Ui(json, quiet), driver.load(out)
    dataset = _data(data, art, limit)
    with ui.progress() as progress:
        found, traces = driver.predict(art, dataset, engine, stage, trace, progress)
    if output is not None:
        driver.write_npz(output, {"logits": found, **traces})
        ui.say(f"wrote {output}")
    accuracy = driver.accuracy(found, dataset.labels)
    ui.table("", ["samples", "engine", "T", "accuracy"],
             [(len(dataset), engine, art.graph.steps, percent(accuracy))])  # fmt: skip
    _warn_clipped(ui, art, dataset)
    ui.result(
        {
            "samples": len(dataset),
            "engine": engine,
            "timesteps": art.graph.steps,
            "accuracy": accuracy,
            "output": None if output is None else str(output),
            "predictions": found.argmax(axis=1).tolist(),
        }
    )


def _warn_clipped(ui: Ui, art: driver.Artifact, data: Dataset) -> None:
    clipped, total = art.clipped(data)
    if clipped:
        ui.say(f"warning: {clipped} of {total} input values lie outside the calibrated input range "
               "and were clipped")  # fmt: skip


@app.command(epilog=EPILOGS["check"])
def check(
    out: Out,
    data: Annotated[Path | None, typer.Option(help="Inputs; random ones if none.")] = None,
    engines: Annotated[str, typer.Option(help="Names with commas.")] = "reference,fast",
    model: Annotated[Path | None, typer.Option(help="Also compare with this ANN.")] = None,
    against: Annotated[
        Path | None, typer.Option(help="Compare with this artifact, on the first engine.")
    ] = None,
    limit: Limit = None,
    json: Json = False,
    quiet: Quiet = False,
    debug: Debug = False,
) -> None:
    """Check that engines agree bit for bit, on every layer, neuron and step."""
    ui, art = Ui(json, quiet), driver.load(out)
    names = [name.strip() for name in engines.split(",") if name.strip()]
    if data is None:
        dataset = driver.random_inputs(art.graph, limit or 4)
    else:
        dataset = _data(data, art, limit)
    with ui.progress() as progress:
        if against is None:
            found = driver.check(art, dataset, names, progress)
        else:
            other = driver.load(against)
            names = names[:1] or ["reference"]
            found = bisect.check_against(art, other, dataset, names[0], progress)
        if model is not None:
            found["model"] = driver.check_model(art, dataset, model)
    rows = [
        (layer["name"], layer["spikes_compared"], layer["spikes_differing"],
         layer["potentials_compared"], layer["potentials_differing"])
        for layer in found["layers"]
    ]  # fmt: skip
    if against is not None:
        names = [str(out), str(against)]
    title = f"{' = '.join(names)} on {len(dataset)} samples, T = {art.graph.steps}"
    ui.table(title, ["layer", "spikes", "differing", "potentials", "differing"], rows)
    if model is not None:
        ui.say(f"agreement with the ANN: {percent(found['model']['agreement'])}")
    if found["equal"]:
        ui.say("equal: 0 spikes and 0 potentials differ")
    elif found["first_difference"] is None:
        ui.say(f"these layers could not be compared: {', '.join(found['layers_not_compared'])}")
    else:
        ui.say(driver.describe_difference(found["first_difference"]))
        _explain(ui, found["first_difference"])
    ui.result(found)
    raise typer.Exit(0 if found["equal"] else 1)


def _explain(ui: Ui, difference: dict[str, Any]) -> None:
    """What entered the neuron of the first difference, and what follows from it."""
    found = difference["explanation"]
    rows = [(f"%{v['source']}", str(v["element"]), v["value"], v["weight"], v["product"])
            for v in found["inputs"]]  # fmt: skip
    title = f"Its inputs in this step: {found['inputs_nonzero']} non-zero, the largest first"
    ui.table(title, ["from", "element", "value", "weight", "product"], rows)
    names = {"current": "current", "bias": "bias", "potential_before": "potential before",
             "potential_charged": "with current and bias", "theta": "theta",
             "theta_neg": "theta_neg", "fire": "fire", "count_before": "count before",
             "expected_spike": "so the spike is", "expected_potential": "and v after"}  # fmt: skip
    ui.say(", ".join(f"{text} {found[key]}" for key, text in names.items() if key in found))
    for name, text in difference["likely_cause"].items():
        ui.say(f"{name}: {text}")


@app.command(epilog=EPILOGS["reduce"])
def reduce(
    out: Out,
    data: Data,
    output: Annotated[Path, typer.Option("-o", "--output", help="Folder for the case.")],
    engines: Annotated[str, typer.Option(help="Two names with a comma.")] = "reference,fast",
    limit: Limit = None,
    json: Json = False,
    quiet: Quiet = False,
    debug: Debug = False,
) -> None:
    """Shrink a case in which two engines differ to a small graph and input, and write it."""
    ui, art = Ui(json, quiet), driver.load(out)
    names = [name.strip() for name in engines.split(",") if name.strip()]
    with ui.progress() as progress:
        found = bisect.reduce_case(art, _data(data, art, limit), names, output, progress)
    if found["equal"]:
        ui.say(f"equal: {' and '.join(names)} do not differ, there is nothing to reduce")
    else:
        for cut in found["cuts"]:
            ui.say(f"cut: {cut}")
        ui.say(driver.describe_difference(found["first_difference"]))
        _explain(ui, found["first_difference"])
        ui.say(f"wrote {output}; run it with `spikec trace --verify {output} --engine {names[1]}`")
    ui.result(found)
    raise typer.Exit(0 if found["equal"] else 1)


@app.command(epilog=EPILOGS["trace"])
def trace(
    out: Annotated[Path | None, typer.Argument(metavar="[OUT]", help="Artifact.")] = None,
    data: Annotated[Path | None, typer.Option(help=".npz with x, or .npy.")] = None,
    output: Annotated[Path | None, typer.Option("-o", "--output", help="Folder.")] = None,
    verify: Annotated[
        Path | None, typer.Option(help="Recompute the traces in this folder and compare.")
    ] = None,
    engine: Annotated[str, typer.Option(help="reference, fast or lava.")] = "reference",
    arrays: Annotated[bool, typer.Option("--arrays", help="Write the full arrays too.")] = False,
    limit: Limit = None,
    json: Json = False,
    quiet: Quiet = False,
    debug: Debug = False,
) -> None:
    """Write golden traces for other implementations, or verify an engine against them."""
    ui, art = Ui(json, quiet), None if out is None else driver.load(out)
    if verify is not None:
        cases = bisect.verify_traces(verify, engine, art)
        rows = [(c["folder"], c["samples"], c["timesteps"], len(c["layers"]), c["equal"])
                for c in cases]  # fmt: skip
        ui.table(f"{engine} against golden traces",
                 ["traces", "samples", "T", "layers", "equal"], rows)  # fmt: skip
        for case in cases:
            if case["first_difference"] is not None:
                ui.say(f"{case['folder']}: first difference: {case['first_difference']}")
        equal = all(case["equal"] for case in cases)
        ui.result({"engine": engine, "equal": equal, "cases": cases})
        raise typer.Exit(0 if equal else 1)
    if art is None or data is None or output is None:
        raise UsageError("trace needs OUT, --data and -o, or --verify FOLDER")
    found = bisect.write_traces(art, _data(data, art, limit), engine, output, arrays)
    ui.say(f"wrote {output}: {found['samples']} samples, T = {found['steps']}, "
           f"{len(found['layers'])} layers")  # fmt: skip
    ui.result({"out": str(output), **{k: found[k] for k in ("samples", "steps", "network")}})


@app.command(epilog=EPILOGS["eval"])
def eval(
    out: Out,
    data: Data,
    model: Annotated[Path | None, typer.Option(help="The ANN to compare with.")] = None,
    engine: Annotated[str, typer.Option(help="reference, fast or lava.")] = "fast",
    stage: Annotated[str, typer.Option(help="int, or float before quantisation.")] = "int",
    timesteps: Annotated[str | None, typer.Option(help="Such as 1,2,4,8.")] = None,
    limit: Limit = None,
    json: Json = False,
    quiet: Quiet = False,
    debug: Debug = False,
) -> None:
    """Measure accuracy, spike rates and synaptic operations."""
    ui, art = Ui(json, quiet), driver.load(out)
    dataset, steps = _data(data, art, limit), _steps(timesteps)
    with ui.progress() as progress:
        found = driver.evaluate(
            art, dataset, timesteps=steps, model=model, engine_name=engine, stage=stage,
            progress=progress,
        )  # fmt: skip
    rows = [
        (r["timesteps"], percent(r["accuracy"]), percent(r["agreement"]),
         r["spikes_per_neuron_step"], r["effective_acs"], r["effective_macs"], r["dense"],
         r["seconds_per_sample"])
        for r in found["results"]
    ]  # fmt: skip
    title = f"{len(dataset)} samples, compiled for T = {art.graph.steps}"
    if found["ann_accuracy"] is not None:
        title += f", ANN accuracy {percent(found['ann_accuracy'])}"
    ui.table(title, ["T", "accuracy", "agrees", "rate", "ACs", "MACs", "dense", "s/sample"], rows)
    ui.say("agrees: same class as the ANN; rate: spikes per neuron and step")
    ui.say("ACs, MACs: effective synaptic operations per sample (spike or graded input and weight "
           "not zero); dense: all")  # fmt: skip
    _warn_clipped(ui, art, dataset)
    ui.result(found)


@app.command(epilog=EPILOGS["inspect"])
def inspect(
    path: Annotated[Path, typer.Argument(metavar="MODEL.onnx | OUT")],
    chip: Annotated[
        Path | None, typer.Option(help="Write a picture of the chip (SVG); needs OUT.")
    ] = None,
    json: Json = False,
    quiet: Quiet = False,
    debug: Debug = False,
) -> None:
    """Show what a model or an artifact holds, and what could not be converted."""
    ui, found = Ui(json, quiet), driver.inspect(path)
    rows = [(name, count) for name, count in sorted(found["operators"].items())]
    ui.table("Operators", ["operator", "nodes"], rows)
    rows_ = [(u["node"], u["op"], u["reason"], u["hint"]) for u in found["unsupported"]]
    if rows_:
        ui.table("Not supported", ["node", "operator", "reason", "what would help"], rows_)
    layers = [(v["name"], v["op"], v["shape"], v["params"]) for v in found["layers"]]
    ui.table("Layers", ["layer", "op", "shape", "parameters"], layers)
    if found["placement"] is not None:
        _show_placement(ui, found["placement"])
    if chip is not None:
        if found["placement"] is None:
            raise UsageError("--chip needs an artifact: compile the model first")
        driver.draw_chip(driver.load(path), chip)
        ui.say(f"wrote {chip}")
    for note in found["notes"]:
        ui.say(f"note: {note}")
    ui.say("supported" if found["supported"] else "not supported")
    ui.result(found)


def _show_placement(ui: Ui, found: dict[str, Any]) -> None:
    rows = [
        (layer["name"], layer["neurons"], layer["synapses"], layer["fan_in"], layer["memory"],
         layer["memory_without_sharing"], layer["cores"], layer["cores_without_sharing"],
         layer["first_core"], layer["bound_by"])
        for layer in found["layers"]
    ]  # fmt: skip
    ui.table(
        f"Placement on {found['hardware']} (memory: bytes of weights, shared over positions / not)",
        ["layer", "neurons", "synapses", "fan-in", "memory", "unshared", "cores", "unshared",
         "first", "bound by"],
        rows,
    )  # fmt: skip
    figures = [(f["figure"], f["value"], f["status"], f["source"]) for f in found["figures"]]
    ui.table(f"Figures of {found['hardware']}", ["figure", "value", "status", "source"], figures)
    for problem in found["problems"]:
        ui.say(f"does not fit: {problem['text']}")
    if found["fits"]:
        ui.say(f"fits: {found['cores']} neurocores, {found['memory']:,} bytes of synapses "
               f"(without weight sharing {found['cores_without_sharing']} and "
               f"{found['memory_without_sharing']:,})")  # fmt: skip


@app.command(epilog=EPILOGS["opt"])
def opt(
    file: Annotated[Path, typer.Argument(metavar="FILE.spk")],
    pass_pipeline: Annotated[str, typer.Option(help="Passes to run.")] = "",
    timesteps: Steps = 8,
    verify_roundtrip: Annotated[bool, typer.Option(help="Check parse(print(g)) == g.")] = False,
    values: Annotated[bool, typer.Option(help="Print arrays too.")] = True,
    debug: Debug = False,
) -> None:
    """Read a graph as text, run passes, print the result as text."""
    sys.stdout.write(driver.opt(file, pass_pipeline, timesteps, verify_roundtrip, values))


def _listing(kind: str, rows: list[tuple[Any, ...]], columns: list[str], ui: Ui) -> None:
    ui.table("", columns, rows)
    ui.result({kind: [dict(zip(columns, row, strict=True)) for row in rows]})


@app.command(epilog=EPILOGS["passes"])
def passes(json: Json = False, quiet: Quiet = False, debug: Debug = False) -> None:
    """List the passes, with their options."""
    rows = [(name, options, doc) for name, options, doc in driver.list_passes()]
    _listing("passes", rows, ["name", "options", "doc"], Ui(json, quiet))


@app.command(epilog=EPILOGS["targets"])
def targets(json: Json = False, quiet: Quiet = False, debug: Debug = False) -> None:
    """List targets and engines, and whether they can be used here."""
    rows = []
    for name, backend in BACKENDS.items():
        uses = [n for n, given in (("target", backend.emit), ("engine", backend.simulate)) if given]
        rows.append((name, ", ".join(uses), backend.unavailable() or "available", backend.doc))
    _listing("targets", rows, ["name", "use", "here", "doc"], Ui(json, quiet))


@app.command(epilog=EPILOGS["ops"])
def ops(json: Json = False, quiet: Quiet = False, debug: Debug = False) -> None:
    """List the ops of the graph and the ONNX operators that are imported."""
    ui = Ui(json, quiet)
    rows = [(n, ", ".join(op.stages), driver.first_line(op.__doc__)) for n, op in OPS.items()]
    ui.table("Ops of the graph", ["name", "stages", "doc"], rows)
    onnx_ops = driver.list_onnx_operators()
    ui.table("ONNX operators", ["domain", "operators"],
             [(domain, ", ".join(names)) for domain, names in onnx_ops.items()])  # fmt: skip
    columns = ["name", "stages", "doc"]
    listed = [dict(zip(columns, row, strict=True)) for row in rows]
    ui.result({"ops": listed, "onnx": onnx_ops})


@app.command(epilog=EPILOGS["demo"])
def demo(
    target: Annotated[str, typer.Option(help="lava, or numpy to leave Lava out.")] = "lava",
    limit: Annotated[int, typer.Option(min=1, help="Test images.")] = 1000,
    json: Json = False,
    quiet: Quiet = False,
    debug: Debug = False,
) -> None:
    """Run the main job on a bundled trained model and real images."""
    from spikec.demo import run_demo

    ui = Ui(json, quiet)
    found = run_demo(ui, target, limit)
    ui.result(found)
    raise typer.Exit(0 if found["equal"] is not False else 1)


def _stop(signum: int, frame: Any) -> NoReturn:
    raise KeyboardInterrupt


def main(arguments: list[str] | None = None) -> NoReturn:
    """Run the command line.

    Exits 0, 1 (a check found a difference) or 2 (one clear error, or interrupted).
    """
    given = sys.argv[1:] if arguments is None else arguments
    debug = "--debug" in given
    signal.signal(signal.SIGTERM, _stop)
    try:
        code = app(args=given, standalone_mode=False, prog_name="spikec")
        if code == _INTERRUPTED:
            raise KeyboardInterrupt
        sys.stdout.flush()
        sys.exit(code if isinstance(code, int) else 0)
    except SystemExit as error:
        closed_pipe = isinstance(error.__context__, BrokenPipeError)  # typer makes it exit 1
        sys.exit(0 if closed_pipe else error.code)
    except SpikecError as error:
        _fail(error, str(error), debug)
    except (KeyboardInterrupt, typer.Abort):
        print_error("interrupted; nothing half-written is left")
        sys.exit(2)
    except _BadUsage as error:
        context, message = getattr(error, "ctx", None), error.format_message()
        if not message:  # no arguments: the help was shown
            sys.exit(2)
        command = "spikec" if context is None else context.command_path
        _fail(None, f"{message}\n  hint: see `{command} --help`", debug)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(0)
    except MemoryError as error:
        _fail(error, "out of memory: use --limit or fewer --samples", debug)
    except OSError as error:
        where = f"{error.filename}: " if error.filename else ""
        _fail(error, f"{where}{error.strerror or error}", debug)
    except Exception as error:  # a bug: still one line, and the way to report it
        name = type(error).__name__
        _fail(error, f"internal error ({name}: {error}); please report it with --debug", debug)


def _fail(error: BaseException | None, text: str, debug: bool) -> NoReturn:
    if debug and error is not None:
        raise error
    print_error(text)
    sys.exit(2)
