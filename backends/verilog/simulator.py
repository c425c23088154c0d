"""Builds simulations with Verilator or Icarus, kept under the hash of what they were made from."""

from __future__ import annotations

import functools
import os
import shlex
import shutil
import subprocess
from collections.abc import Mapping
from typing import Literal, TypeAlias

from spikec.backends.lowering.cache import built
from spikec.ir import BackendError

MODULE, PROGRAM = "testbench", "testbench.sim"
Simulator: TypeAlias = Literal["verilator", "icarus"]
COMMANDS: dict[Simulator, tuple[str, ...]] = {
    "verilator": (
        "verilator", "--binary", "--timing", "--top-module", MODULE, "-o", PROGRAM, "-O3",
        "-j", "1", "-Wno-fatal", "-Wno-TIMESCALEMOD", "-fno-dfg", "-DSPIKEC_PROBES",
        "-CFLAGS", "-O1",
    ),
    "icarus": ("iverilog", "-g2012", "-DSPIKEC_PROBES", "-s", MODULE, "-o", PROGRAM),
}  # fmt: skip
"""How simulations are built; `SPIKEC_VERILATOR_FLAGS` adds to Verilator's.

Without -fno-dfg Verilator 5.006 takes constant bits of vectors that are driven in parts for 0.
"""


def unavailable(simulator: Simulator) -> str | None:
    """Why nothing can be simulated here, or None if it can."""
    if simulator == "icarus":
        missing = shutil.which("iverilog") is None
        return "there is no Icarus (in Debian: apt-get install iverilog)" if missing else None
    if shutil.which("verilator") is None:
        return "there is no Verilator (in Debian: apt-get install verilator g++ make)"
    if shutil.which("make") is None or (shutil.which("g++") or shutil.which("clang++")) is None:
        return "Verilator needs make and a C++ compiler (in Debian: apt-get install make g++)"
    return None


@functools.cache
def _version(program: str) -> str:
    flag = "--version" if program == "verilator" else "-V"
    answer = subprocess.run([program, flag], capture_output=True, text=True, check=False)
    return answer.stdout


def simulation(files: Mapping[str, str], simulator: Simulator) -> list[str]:
    """The command that simulates a network and its testbench.

    Args:
        files: Texts by file name; those that end in .sv are compiled.
        simulator: What simulates.

    Raises:
        BackendError: when there is no such simulator, or it refuses the files.
    """
    reason = unavailable(simulator)
    if reason is not None:
        raise BackendError(f"engine 'verilog' is not available: {reason}")
    command = [*COMMANDS[simulator]]
    if simulator == "verilator":
        command += shlex.split(os.environ.get("SPIKEC_VERILATOR_FLAGS", ""))
    sources = {name: text for name, text in files.items() if name.endswith(".sv")}
    inside = "obj_dir/" if simulator == "verilator" else ""
    product, version = f"{inside}{PROGRAM}", _version(command[0])
    program = str(built([*command, *sources], sources, product, version, command[0]))
    return [program] if simulator == "verilator" else ["vvp", "-n", program]
