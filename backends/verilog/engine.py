"""Runs an integer graph as simulated hardware, and reads every spike and potential out of it."""

from __future__ import annotations

import subprocess
import tempfile
import threading
from collections import OrderedDict
from collections.abc import Collection, Mapping
from pathlib import Path

import numpy as np

from spikec.backends.lowering.observed import observed
from spikec.backends.lowering.records import Spikes
from spikec.backends.verilog.emit import Project, build
from spikec.backends.verilog.engines import Engine, LayerEngine, PoolEngine
from spikec.backends.verilog.parameters import pool_bits, probe_file
from spikec.backends.verilog.simulator import Simulator, simulation
from spikec.backends.verilog.streams import channels_first
from spikec.ir import BackendError, Graph
from spikec.ir.types import Array
from spikec.runtime.hexfiles import hex_lines
from spikec.runtime.interpreter import (
    Feeds,
    Simulation,
    as_read,
    check_feeds,
    check_width,
    over_time,
    run_length,
)
from spikec.runtime.interpreter import simulate as reference

_projects: OrderedDict[tuple[int, int, int], tuple[Graph, Project]] = OrderedDict()
_lock = threading.Lock()


def project_of(graph: Graph, steps: int, cycles: int) -> Project:
    """The project of a graph, kept for the graphs that were last used."""
    key = (id(graph), steps, cycles)
    with _lock:
        if key not in _projects:
            _projects[key] = graph, build(graph, cycles, steps)
        _projects.move_to_end(key)
        while len(_projects) > 8:
            _projects.popitem(last=False)
        return _projects[key][1]


def simulate(
    graph: Graph,
    feeds: Feeds,
    steps: int | None,
    trace: Collection[str],
    cycles: int,
    stalls: bool,
    simulator: Simulator,
) -> Simulation:
    """Run an integer graph in a simulator; see `spikec.runtime.interpreter.simulate`.

    Raises:
        RangeError: when a value leaves its width; the reference finds it.
        BackendError: when the graph cannot become hardware, or the simulation fails.
    """
    steps = run_length(graph, steps)
    samples = check_feeds(graph, feeds, steps)
    for node in graph.inputs:
        check_width(graph, node, over_time(node, feeds, steps), None)
    project = project_of(graph, steps, cycles)
    read = {node.name: as_read(node, feeds, steps) for node in graph.inputs}
    with tempfile.TemporaryDirectory(prefix="spikec-verilog-") as name:
        folder = Path(name)
        if run(project, read, folder, stalls, simulator).startswith("overflow"):
            reference(graph, feeds, steps, trace)  # raises and says where
            raise BackendError("engine 'verilog' says that a number left its width, no other does")
        spikes, potentials = _traces(project, folder, samples)
    return observed(graph, feeds, steps, trace, spikes, potentials)


def run(
    project: Project, read: Mapping[str, Array], folder: Path, stalls: bool, simulator: Simulator
) -> str:
    """Simulate samples in a folder; returns what the testbench says.

    Args:
        project: What is simulated.
        read: Coded samples by input.
        folder: Where the simulation reads and writes.
        stalls: Whether both sides pause at random.
        simulator: What simulates.

    Raises:
        BackendError: when the simulation fails.
    """
    program = simulation(project.files, simulator)
    for file, content in project.files.items():
        if file.endswith(".mem"):
            (folder / file).parent.mkdir(exist_ok=True)
            (folder / file).write_text(content, encoding="utf-8")
    (folder / "hex").mkdir()
    for value in project.design.plan.inputs:
        bits = project.design.stream(value).bits
        text = hex_lines(read[value.name], bits)
        (folder / "hex" / f"{value.name}.hex").write_text(text, encoding="utf-8")
    time, samples = project.design.timing, len(next(iter(read.values())))
    command = [*program, "+verilator+seed+1", f"+drain={time.interval * samples + time.latency}"]
    command += ["+stalls"] if stalls else []
    made = subprocess.run(
        command, cwd=folder, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False
    )
    if made.returncode != 0:
        said = (made.stdout + made.stderr).strip().splitlines() or [f"code {made.returncode}"]
        raise BackendError(f"the simulated network failed: {said[0]}")
    return made.stdout


def _traces(
    project: Project, folder: Path, samples: int
) -> tuple[dict[str, list[Array]], dict[str, list[Array]]]:
    """Spikes and potentials of all stateful layers, by sample (steps, *shape)."""
    spikes: dict[str, list[Array]] = {}
    potentials: dict[str, list[Array]] = {}
    for engine in project.design.engines:
        result = engine.stage.result
        file = folder / probe_file(project.design.names[result.name])
        if not file.exists():
            continue
        # A layer whose first pixels read pads alone begins samples that never come.
        lines = samples * result.size
        lower, upper = (digits[:lines] for digits in _words(file.read_bytes()))
        out = engine.out
        held = _numbers(upper, out.steps, _state_bits(engine), signed=True)
        potentials[result.name] = _by_sample(held, samples, result.shape)
        if isinstance(result.coding, Spikes):
            sent = _numbers(lower, out.steps, out.bits, signed=out.signed)
            spikes[result.name] = _by_sample(sent, samples, result.shape)
    return spikes, potentials


def _state_bits(engine: Engine) -> int:
    if isinstance(engine, PoolEngine):
        return pool_bits(engine)
    assert isinstance(engine, LayerEngine)
    return engine.stage.state.bits


def _words(content: bytes) -> tuple[Array, Array]:
    """Both words of each line, as hexadecimal digits (lines, digits)."""
    line = content.index(b"\n") + 1
    rows = np.frombuffer(content, np.uint8).reshape(-1, line)
    split = int(content.index(b" "))
    digits = np.where(rows >= ord("a"), rows - ord("a") + 10, rows - ord("0"))
    return digits[:, :split], digits[:, split + 1 : -1]


def _numbers(digits: Array, steps: int, bits: int, *, signed: bool) -> Array:
    """The numbers that lie side by side in words, the first lowest: (lines, steps)."""
    lowest = digits[:, ::-1, None] >> np.arange(4, dtype=np.uint8) & 1
    flags = lowest.reshape(len(digits), -1)[:, : steps * bits].reshape(-1, steps, bits)
    numbers = (flags.astype(np.int64) << np.arange(bits)).sum(axis=-1)
    return numbers - (flags[..., -1].astype(np.int64) << bits) if signed else numbers


def _by_sample(numbers: Array, samples: int, shape: tuple[int, ...]) -> list[Array]:
    """(samples * elements, steps) in the order of a stream as (steps, *shape) of each sample."""
    by_step = numbers.reshape(samples, -1, numbers.shape[-1]).swapaxes(1, 2)
    return list(channels_first(by_step, shape))
