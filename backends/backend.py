"""What a backend is: something that emits a compiled network, runs it, or both."""

from __future__ import annotations

import dataclasses
from collections.abc import Collection
from pathlib import Path
from typing import ClassVar, Protocol

from spikec.ir import Graph
from spikec.ir.hardware import LOIHI2, HardwareSpec
from spikec.ir.options import Option, spell
from spikec.runtime.interpreter import Feeds, Simulation


class Simulate(Protocol):
    """Runs a spiking graph, as `spikec.runtime.interpreter.simulate` does."""

    def __call__(
        self, graph: Graph, feeds: Feeds, steps: int | None = None, trace: Collection[str] = ()
    ) -> Simulation:
        """Run `graph` on coded inputs; see `spikec.runtime.interpreter.simulate`."""
        ...


@dataclasses.dataclass(frozen=True, slots=True)
class Origin:
    """Where a graph came from, for what a target writes.

    Attributes:
        model: The file name of the ONNX model, if it came from a file.
        outputs: ONNX names of the values that the graph's outputs stand for; none if unknown.
    """

    model: str | None = None
    outputs: tuple[str, ...] = ()


UNKNOWN = Origin()


@dataclasses.dataclass(frozen=True, slots=True)
class MappedPart:
    """How a target maps one part of the network.

    Attributes:
        layer: The graph node.
        what: What it is.
        how: What stands for it.
        chip: Whether a chip could do it; else only a simulation can.
        microcode: Whether a chip needs microcode for it.
        change: What to change in the model, so that a chip could do it.
    """

    layer: str
    what: str
    how: str
    chip: bool
    microcode: bool = False
    change: str = ""


@dataclasses.dataclass(frozen=True)
class Backend:
    """A target, an engine or both; its fields are its options, as those of a pass are.

    Subclass `Target`, `Engine` or both as a frozen dataclass in a module of `backends/`; the
    module's name is the backend's name, its docstring's first line stands in `spikec targets`.
    `--target 'verilog{device=ecp5-85k,cycles=200000}'` makes one with these two options.
    """

    name: ClassVar[str] = ""

    def unavailable(self) -> str | None:
        """Why it cannot be used here, or None if it can."""
        return None

    @property
    def options(self) -> dict[str, Option]:
        """Option values by name."""
        return {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}

    def __str__(self) -> str:
        return spell(self.name, self)


@dataclasses.dataclass(frozen=True)
class Target(Backend):
    """Emits the integer graph of an artifact, for `--target`."""

    legalise: ClassVar[tuple[str, ...]] = ()
    """Passes of stage int that its networks need, run before `range`."""

    @property
    def spec(self) -> HardwareSpec:
        """The widths that it holds."""
        return LOIHI2

    def refuse_early(self) -> None:
        """Raise BackendError for what is known to fail before any work is done."""

    def emit(self, graph: Graph, folder: Path, origin: Origin = UNKNOWN) -> None:
        """Write an integer graph into a folder, which exists; no files for no folder.

        Raises:
            BackendError: naming the node that the target cannot hold.
        """
        raise NotImplementedError(self.name)

    def describe(self, graph: Graph, quick: bool = False) -> list[MappedPart]:
        """How `emit` maps a graph onto a chip.

        Args:
            graph: At stage int.
            quick: Only if that takes seconds; else one part says that it does not.

        Returns:
            Its parts; none where the target is no way to a chip.
        """
        return []


@dataclasses.dataclass(frozen=True)
class Engine(Backend):
    """Runs a graph, for `--engine`."""

    stages: ClassVar[tuple[str, ...]] = ("snn", "int")
    """Stages of the graphs that it runs."""

    def simulate(
        self, graph: Graph, feeds: Feeds, steps: int | None = None, trace: Collection[str] = ()
    ) -> Simulation:
        """Run `graph` on coded inputs; see `spikec.runtime.interpreter.simulate`."""
        raise NotImplementedError(self.name)
