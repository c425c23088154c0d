"""Builds simulations with Verilator or Icarus, kept under the hash of what they were made from."""

from __future__ import annotations

import functools
import hashlib
import os
import shlex
import shutil
import subprocess
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Literal, TypeAlias

from spikec.backends.lowering.cache import KEPT, cache_folder
from spikec.ir import BackendError

PROGRAM = "testbench"
Simulator: TypeAlias = Literal["verilator", "icarus"]
COMMANDS: dict[Simulator, tuple[str, ...]] = {
    "verilator": (
        "verilator", "--binary", "--timing", "--top-module", PROGRAM, "-o", PROGRAM, "-O3",
        "-j", "1", "-Wno-fatal", "-Wno-TIMESCALEMOD", "-fno-dfg", "-DSPIKEC_PROBES",
        "-CFLAGS", "-O1",
    ),
    "icarus": ("iverilog", "-g2012", "-DSPIKEC_PROBES", "-s", PROGRAM, "-o", PROGRAM),
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
    key = hashlib.sha256()
    for part in (_version(command[0]), *command, *(x for f in sorted(sources.items()) for x in f)):
        key.update(part.encode() + b"\0")
    folder = cache_folder()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        program = folder / f"{key.hexdigest()[:40]}.sim"
        if not program.exists():
            _build(command, sources, program)
            _shorten(folder, program)
        os.utime(program)
    except OSError as error:
        raise BackendError(
            f"the cache of compiled networks cannot be used: {error}",
            hint="name a folder that can be written in SPIKEC_CACHE",
        ) from None
    return [str(program)] if simulator == "verilator" else ["vvp", "-n", str(program)]


def _build(command: list[str], sources: Mapping[str, str], program: Path) -> None:
    """Build beside the final name, and move into place in one step."""
    with tempfile.TemporaryDirectory(prefix="build-", dir=program.parent) as name:
        folder = Path(name)
        for file, content in sources.items():
            (folder / file).parent.mkdir(exist_ok=True)
            (folder / file).write_text(content, encoding="utf-8")
        made = subprocess.run(
            [*command, *sources], cwd=folder, capture_output=True, text=True, check=False
        )
        if made.returncode != 0:
            lines = (made.stderr + made.stdout).strip().splitlines()
            lines = lines or [f"exit code {made.returncode}"]
            reason = next((line for line in lines if "rror" in line), lines[0])
            raise BackendError(f"{command[0]} refuses the network: {reason}")
        made_in = folder / "obj_dir" if command[0] == "verilator" else folder
        (made_in / PROGRAM).replace(program)


def _shorten(folder: Path, newest: Path) -> None:
    """Remove those simulations that were not used for longest."""
    kept = sorted(folder.glob("*.sim"), key=lambda path: path.stat().st_mtime, reverse=True)
    for path in kept[KEPT:]:
        if path != newest:
            path.unlink(missing_ok=True)
