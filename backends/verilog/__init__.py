"""Synthesisable SystemVerilog, bit for bit the reference; simulated, an engine."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

from spikec.backends.backend import UNKNOWN, Engine, Origin, Target
from spikec.backends.verilog.devices import DeviceName
from spikec.backends.verilog.emit import build
from spikec.backends.verilog.engine import simulate
from spikec.backends.verilog.simulator import Simulator, unavailable
from spikec.ir import Graph
from spikec.runtime.interpreter import Feeds, Simulation


@dataclass(frozen=True)
class Verilog(Target, Engine):
    """A circuit that streams samples, an engine per layer; as engine, simulated by Verilator.

    Attributes:
        device: What the network must fit, by estimates; none for anything.
        cycles: Clock cycles that a sample may take, from one to the next; layers are folded so
            that none takes more.
        stalls: As engine: both sides of the network pause at random.
        simulator: As engine: Verilator, or Icarus, which starts at once and is slow.
    """

    device: DeviceName | None = None
    cycles: int = 200_000
    stalls: bool = True
    simulator: Simulator = "verilator"
    stages = ("int",)

    def unavailable(self) -> str | None:
        return unavailable(self.simulator)

    def emit(self, graph: Graph, folder: Path, origin: Origin = UNKNOWN) -> None:
        for name, text in build(graph, self.cycles, device=self.device).files.items():
            (folder / name).parent.mkdir(exist_ok=True)
            (folder / name).write_text(text, encoding="utf-8")

    def simulate(
        self, graph: Graph, feeds: Feeds, steps: int | None = None, trace: Collection[str] = ()
    ) -> Simulation:
        return simulate(graph, feeds, steps, trace, self.cycles, self.stalls, self.simulator)
