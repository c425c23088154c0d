"""`inspect`, `opt` and the lists."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from spikec.cli.app import (
    Debug,
    Json,
    Out,
    Quiet,
    Steps,
    app,
    show_chip,
)
from spikec.cli.options import read_options, with_options
from spikec.cli.text import EPILOGS

if TYPE_CHECKING:
    from spikec.ui import Ui


@app.command(epilog=EPILOGS["inspect"])
@with_options
def inspect(
    path: Annotated[Path, typer.Argument(metavar="MODEL.onnx | OUT")],
    chip: Annotated[
        Path | None, typer.Option(help="Write a picture of the chip (SVG); needs OUT.")
    ] = None,
    json: Json = False,
    quiet: Quiet = False,
    debug: Debug = False,
    **settings: Any,
) -> None:
    """Show what a model or an artifact holds, and what `compile` with these options would refuse.

    Exits 1 where it would refuse something.
    """
    from spikec import driver
    from spikec.ir import UsageError
    from spikec.ui import Ui

    if chip is not None:
        driver.check_file(chip, [path])
    ui, contents = Ui(json, quiet), driver.inspect(path, read_options(settings))
    rows = [(name, count) for name, count in sorted(contents["operators"].items())]
    ui.table("Operators", ["operator", "nodes"], rows)
    rows_ = [(u["node"], u["op"], u["reason"], u["hint"]) for u in contents["unsupported"]]
    if rows_:
        ui.table("Not supported", ["node", "operator", "reason", "what would help"], rows_)
    layers = [(v["name"], v["op"], v["shape"], v["params"]) for v in contents["layers"]]
    ui.table("Layers", ["layer", "op", "shape", "parameters"], layers)
    if contents["placement"] is not None:
        _show_placement(ui, contents["placement"])
    if chip is not None:
        if contents["placement"] is None:
            raise UsageError("--chip needs an artifact: compile the model first")
        driver.draw_chip(driver.load(path), chip)
        ui.note(f"wrote {chip}")
    for note in contents["notes"]:
        ui.note(f"note: {note}")
    show_chip(ui, contents["mapping"])
    ui.result(contents, "supported" if contents["supported"] else "not supported")
    raise typer.Exit(0 if contents["supported"] else 1)


def _show_placement(ui: Ui, placement: dict[str, Any]) -> None:
    rows = [
        (
            layer["name"],
            layer["neurons"],
            layer["synapses"],
            layer["fan_in"],
            layer["memory"],
            layer["memory_without_sharing"],
            layer["cores"],
            layer["cores_without_sharing"],
            layer["first_core"],
            layer["bound_by"],
        )
        for layer in placement["layers"]
    ]
    ui.table(
        f"Placement on {placement['hardware']} (memory: bytes of weights, shared over positions or "
        "not)",
        [
            "layer",
            "neurons",
            "synapses",
            "fan-in",
            "memory",
            "unshared",
            "cores",
            "unshared",
            "first",
            "bound by",
        ],
        rows,
    )
    figures = [(f["figure"], f["value"], f["status"], f["source"]) for f in placement["figures"]]
    ui.table(
        f"Figures of {placement['hardware']}", ["figure", "value", "status", "source"], figures
    )
    for problem in placement["problems"]:
        ui.say(f"does not fit: {problem['text']}")
    if placement["fits"]:
        ui.say(
            f"fits: {placement['cores']} neurocores, {placement['memory']:,} bytes of synapses "
            f"(without weight sharing {placement['cores_without_sharing']} and "
            f"{placement['memory_without_sharing']:,})"
        )


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
    from spikec import driver

    sys.stdout.write(driver.opt(file, pass_pipeline, timesteps, verify_roundtrip, values))


@app.command(epilog=EPILOGS["report"])
def report(
    out: Out,
    output: Annotated[
        Path | None, typer.Option("-o", "--output", help="The page; OUT/report.html by default.")
    ] = None,
    json: Json = False,
    quiet: Quiet = False,
    debug: Debug = False,
) -> None:
    """Write one page that shows what a compiled network is worth."""
    from spikec import driver
    from spikec.report.page import build
    from spikec.ui import Ui

    ui, path = Ui(json, quiet), output or out / "report.html"
    art = driver.load(out)
    driver.check_file(path)
    page = build(art.report)
    driver.write_file(path, page.encode())
    for kind, command in ((art.report.evaluations, "eval"), (art.report.checks, "check")):
        if not kind:
            ui.note(f"note: `spikec {command} {out} ...` would add what it measures to the page")
    ui.result({"out": str(path), "bytes": len(page)}, f"wrote {path}")


def _listing(kind: str, rows: list[tuple[Any, ...]], columns: list[str], ui: Ui) -> None:
    ui.table("", columns, rows)
    names = "\n".join(row[0] for row in rows)
    ui.result(
        {kind: [dict(zip(columns, row, strict=True)) for row in rows]}, names if ui.quiet else None
    )


@app.command(epilog=EPILOGS["passes"])
def passes(json: Json = False, quiet: Quiet = False, debug: Debug = False) -> None:
    """List the passes, with their options."""
    from spikec import driver
    from spikec.ui import Ui

    rows = [(name, options, doc) for name, options, doc in driver.list_passes()]
    _listing("passes", rows, ["name", "options", "doc"], Ui(json, quiet))


@app.command(epilog=EPILOGS["targets"])
def targets(json: Json = False, quiet: Quiet = False, debug: Debug = False) -> None:
    """List targets and engines, and whether they can be used here."""
    from spikec import driver
    from spikec.backends import BACKENDS, Engine, Target
    from spikec.ir import SpikecError
    from spikec.ir.options import describe_options
    from spikec.ui import Ui

    rows = []
    for name in BACKENDS:
        try:
            kind = BACKENDS[name]
        except SpikecError as error:
            rows.append((name, "", error.message, "", ""))
            continue
        uses = [n for n, base in (("target", Target), ("engine", Engine)) if issubclass(kind, base)]
        here = kind().unavailable() or "available"
        doc = driver.first_line(kind.__doc__)
        rows.append((name, ", ".join(uses), here, describe_options(kind), doc))
    _listing("targets", rows, ["name", "use", "here", "options", "doc"], Ui(json, quiet))


@app.command(epilog=EPILOGS["ops"])
def ops(json: Json = False, quiet: Quiet = False, debug: Debug = False) -> None:
    """List the ops of the graph and the ONNX operators that are imported."""
    from spikec import driver
    from spikec.ir import OPS
    from spikec.ui import Ui

    ui = Ui(json, quiet)
    rows = [
        (n, ", ".join(op.stages), driver.first_line(op.__doc__)) for n, op in sorted(OPS.items())
    ]
    ui.table("Ops of the graph", ["name", "stages", "doc"], rows)
    onnx_ops = driver.list_onnx_operators()
    ui.table(
        "ONNX operators",
        ["domain", "operators"],
        [(domain, ", ".join(names)) for domain, names in onnx_ops.items()],
    )
    columns = ["name", "stages", "doc"]
    listed = [dict(zip(columns, row, strict=True)) for row in rows]
    names = "\n".join(row[0] for row in rows)
    ui.result({"ops": listed, "onnx": onnx_ops}, names if quiet else None)
