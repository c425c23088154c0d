"""Plain C99 that runs anywhere, bit for bit the reference; compiled, an engine."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

from spikec.backends.backend import UNKNOWN, Engine, Origin, Target
from spikec.backends.c.compiler import unavailable
from spikec.backends.c.emit import build
from spikec.backends.c.engine import simulate
from spikec.backends.lowering import lower
from spikec.ir import Graph
from spikec.runtime.interpreter import Feeds, Simulation


@dataclass(frozen=True)
class C(Target, Engine):
    """Plain C99 without malloc or float, for any microcontroller; as engine, compiled here.

    Attributes:
        lanes: Neurons that are summed at once where a layer has fewer channels: 32 suits hosts
            with wide registers, 1 microcontrollers.
        packed: Weights of 4 bits and fewer share bytes: half the flash, for some more time.
    """

    lanes: int = 32
    packed: bool = True
    stages = ("int",)

    def unavailable(self) -> str | None:
        return unavailable()

    def emit(self, graph: Graph, folder: Path, origin: Origin = UNKNOWN) -> None:
        for name, text in build(lower(graph), self.lanes, self.packed).files.items():
            (folder / name).parent.mkdir(exist_ok=True)
            (folder / name).write_text(text, encoding="utf-8")

    def simulate(
        self, graph: Graph, feeds: Feeds, steps: int | None = None, trace: Collection[str] = ()
    ) -> Simulation:
        return simulate(graph, feeds, steps, trace, self.lanes, self.packed)
