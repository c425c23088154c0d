"""From a graph to the files of a hardware project."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from importlib.resources import files

from spikec.backends.lowering import lower
from spikec.backends.verilog.design import Design, design_of
from spikec.backends.verilog.devices import DEVICES, DeviceName
from spikec.backends.verilog.figures import EngineFigures, check_device, figures, rows_of, total
from spikec.backends.verilog.parameters import data_bits
from spikec.backends.verilog.printer import Printer
from spikec.backends.verilog.testbench import print_testbench
from spikec.ir import Graph

LIBRARY = (
    "adapt", "axis_sink", "axis_source", "fifo", "fire_integer", "fire_powers", "fire_radix",
    "fire_unit", "fork_stream", "max_pool", "multiple", "merge", "neurons", "odometer", "probe",
    "product", "ram", "reorder", "rom", "sums", "window",
)  # fmt: skip
"""Modules that all networks share."""
SIMULATION = ("scoreboard", "stimulus")
"""Modules of the testbench."""
SCRIPTS = ("verilator.sh", "icarus.sh", "yosys.sh", "nextpnr.sh")
"""What simulates and synthesises."""


@dataclass(frozen=True, slots=True)
class Project:
    """A hardware project.

    Attributes:
        design: What it computes, and how.
        files: Texts by file name.
    """

    design: Design
    files: dict[str, str]


def build(
    graph: Graph, cycles: int, steps: int | None = None, device: DeviceName | None = None
) -> Project:
    """The files of a network.

    Args:
        graph: At stage int.
        cycles: That a sample may take.
        steps: Time steps; the graph's own by default.
        device: What it must fit, by the estimates.

    Raises:
        BackendError: naming the layer that hardware cannot hold, that cannot be so fast or that
            needs more than the device has.
    """
    design = design_of(lower(graph, steps), cycles)
    rows = figures(design)
    if device is not None:
        check_device(rows, device)
    texts = Printer(design).print()
    texts["testbench.sv"] = print_testbench(design, graph)
    texts["report.json"] = _report(design, rows, cycles, device)
    texts["README.md"] = _readme(design, rows)
    texts |= {f"library/{name}.sv": _read("library", f"{name}.sv") for name in LIBRARY}
    texts |= {f"simulation/{name}.sv": _read("project", f"{name}.sv") for name in SIMULATION}
    texts |= {name: _read("project", name) for name in SCRIPTS}
    return Project(design, texts)


def _report(
    design: Design, rows: list[EngineFigures], cycles: int, device: DeviceName | None
) -> str:
    report = {
        "network": design.plan.name,
        "timesteps": design.plan.steps,
        "cycles_budget": cycles,
        "device": None if device is None else {"name": device, **asdict(DEVICES[device])},
        "timing": asdict(design.timing),
        "estimate": asdict(total(rows)),
        "layers": [asdict(row) for row in rows],
    }
    return json.dumps(report, indent=1) + "\n"


def _readme(design: Design, rows: list[EngineFigures]) -> str:
    plan, need, time = design.plan, total(rows), design.timing
    values = {
        "NAME": plan.name,
        "STEPS": plan.steps,
        "SOURCE": f" from {plan.source}" if plan.source else "",
        "INTERVAL": f"{time.interval:,}",
        "LATENCY": f"{time.latency:,}",
        "SLOWEST": f"%{time.slowest}",
        "RATE": f"{50e6 / time.interval:,.0f}",
        "MEMORY": f"{need.memory:,}",
        "LUTS": f"{need.luts:,}",
        "REGISTERS": f"{need.registers:,}",
        "BLOCKS": need.blocks,
        "MULTIPLIERS": need.multipliers,
        "LAYERS": "\n".join(rows_of(rows)),
        "PORTS": _ports(design),
    }
    text = _read("project", "README.md.tmpl")
    for key, value in values.items():
        text = text.replace(f"@{key}@", str(value))
    return text


def _ports(design: Design) -> str:
    plan = design.plan
    results = {stage.result.name: stage.result for stage in plan.stages}
    lines = ["| port | what | elements of a sample | TDATA |", "|---|---|---|---|"]
    for value in plan.inputs:
        stream, units = design.stream(value), plan.units[value.name]
        lines.append(
            f"| `s_axis_{design.names[value.name]}` | {units.name}, codes of {stream.bits} bits | "
            f"{value.positions} x {value.channels} | {data_bits(stream.element)} |"
        )
    for name in plan.outputs:
        value = results[name]
        stream = design.stream(value)
        lines.append(
            f"| `m_axis_{design.names[name]}` | {plan.units[name].name}, potentials of "
            f"{stream.bits} bits | {value.positions} x {value.channels} | "
            f"{data_bits(stream.bits)} |"
        )
    return "\n".join(lines)


def _read(folder: str, name: str) -> str:
    return (files("spikec.backends.verilog") / folder / name).read_text(encoding="utf-8")
