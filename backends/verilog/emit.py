"""From a graph to the files of a hardware project."""

from __future__ import annotations

from dataclasses import dataclass
from importlib.resources import files

from spikec.backends.lowering import lower
from spikec.backends.verilog.design import Design, design_of
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


@dataclass(frozen=True, slots=True)
class Project:
    """A hardware project.

    Attributes:
        design: What it computes, and how.
        files: Texts by file name.
    """

    design: Design
    files: dict[str, str]


def build(graph: Graph, cycles: int, steps: int | None = None) -> Project:
    """The files of a network.

    Raises:
        BackendError: naming the layer that hardware cannot hold, or that cannot be so fast.
    """
    design = design_of(lower(graph, steps), cycles)
    texts = Printer(design).print()
    texts["testbench.sv"] = print_testbench(design, graph)
    texts |= {f"library/{name}.sv": _read("library", f"{name}.sv") for name in LIBRARY}
    texts |= {f"simulation/{name}.sv": _read("project", f"{name}.sv") for name in SIMULATION}
    return Project(design, texts)


def _read(folder: str, name: str) -> str:
    return (files("spikec.backends.verilog") / folder / name).read_text(encoding="utf-8")
