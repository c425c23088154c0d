"""What a pass is, what it may use and reports, and which passes there are.

The rooms' folders are the registry: what `rewrites/fold.py` defines is the pass `fold`. A room is
listed, not imported: a pass's module is imported when the pass is asked for. Modules that define no
pass help the others of their room.
"""

from __future__ import annotations

import dataclasses
import math
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

from spikec.compiler.checkpoint import Checkpoint
from spikec.ir import Graph, PassError, SpikecError
from spikec.ir.hardware import LOIHI2, HardwareSpec
from spikec.ir.options import Option, check_choices, spell
from spikec.ir.registry import Registry
from spikec.runtime.interpreter import Feeds

Progress = Callable[[str, int, int], None]
"""Called with (what, done, total)."""


@dataclass(slots=True)
class Record:
    """What one pass did, for the report.

    Attributes:
        name: The pass.
        options: Its options.
        notes: What it changed, in sentences.
        layers: Per layer, named figures such as calibration errors before and after.
        summary: Figures of the whole network, such as its placement.
        judged: Figures of the network after the pass on validation data, if there are any.
        parts: Of a pass that is several in one walk, a record of each.
    """

    name: str
    options: dict[str, Option]
    notes: list[str] = field(default_factory=list)
    layers: dict[str, dict[str, Any]] = field(default_factory=dict)
    summary: dict[str, Any] = field(default_factory=dict)
    judged: dict[str, Any] = field(default_factory=dict)
    parts: list[Record] = field(default_factory=list)

    def note(self, text: str) -> None:
        """Report a change in a sentence."""
        self.notes.append(text)

    def layer(self, name: str, **figures: Any) -> None:
        """Report figures of one layer."""
        self.layers.setdefault(name, {}).update(figures)


class Clock:
    """Seconds by what they were spent on; time inside another measurement counts once, there."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self._inner = [0.0]
        """Seconds that were booked inside each measurement that is under way."""

    @contextmanager
    def __call__(self, name: str) -> Iterator[None]:
        """Book the time of a `with` block on `name`."""
        start = time.perf_counter()
        self._inner.append(0.0)
        try:
            yield
        finally:
            spent = time.perf_counter() - start
            own = spent - self._inner.pop()
            self._inner[-1] += spent
            self.seconds[name] = self.seconds.get(name, 0.0) + own


@dataclass(slots=True)
class Context:
    """What passes may use besides the graph.

    Attributes:
        calib: Calibration inputs by input node, real values (samples, *shape).
        steps: Time steps T to compile for.
        spec: Widths of the target.
        seed: Seeds every random choice.
        last: The last graph of each stage; that of stage ann is the calibration's reference.
        counterparts: The ANN's value that each neuron and readout of the spiking graph stands for,
            told by the pass that makes them; pairs are never guessed from names.
        levels: How many levels the spikes of a neuron count, told by the pass that makes neurons.
        payload_bits: Of layers whose payloads have bits of their own, by the ANN's activation.
        own_levels: What the spikes of those layers count, where it is not `levels`.
        progress: Told about long work.
        judge: Measures a spiking graph on validation data.
        clock: Books the time of each pass, and what is none's own: sweep, verify and judge.
        checkpoint: Keeps what long passes found so far.
    """

    calib: Feeds | None = None
    steps: int = 8
    spec: HardwareSpec = LOIHI2
    seed: int = 0
    last: dict[str, Graph] = field(default_factory=dict)
    counterparts: dict[str, str] = field(default_factory=dict)
    levels: int = 0
    payload_bits: dict[str, int] = field(default_factory=dict)
    own_levels: dict[str, int] = field(default_factory=dict)
    progress: Progress = lambda what, done, total: None
    judge: Callable[[Graph], dict[str, Any]] | None = None
    clock: Clock = field(default_factory=Clock)
    checkpoint: Checkpoint | None = None

    def levels_of(self, activation: str) -> int:
        """How many levels the spikes count that stand for an activation of the ANN."""
        return self.own_levels.get(activation, self.levels)

    def data(self, name: str) -> Feeds:
        """The calibration data; raises PassError for the pass called `name` if there are none."""
        if self.calib is None:
            raise PassError(f"pass {name} needs calibration data", hint="give --calib CALIB.npz")
        return self.calib


@dataclass(frozen=True)
class Pass:
    """A rewrite of the graph; its fields are its options. Subclass it in a room of `compiler`.

    The file's name is the pass's name on the command line. `run` is a pure function: it returns a
    new graph and shares arrays. Options are checked when a pass is made, before anything runs.
    """

    name: ClassVar[str] = ""
    stages: ClassVar[tuple[str, ...]] = ("ann",)
    """Stages that it accepts."""

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        if "name" not in vars(cls):
            cls.name = cls.__module__.rpartition(".")[2]

    def __post_init__(self) -> None:
        with naming(self.name):
            check_choices(self)
            self.check()

    def check(self) -> None:
        """Raise PassError for options that cannot be, beyond what their types say."""

    def run(self, graph: Graph, context: Context, record: Record) -> Graph:
        """The rewritten graph."""
        raise NotImplementedError(self.name)

    def joined(self, following: Pass) -> Pass | None:
        """One pass that does the work of this one and the next in one walk, if there is one."""
        return None

    @property
    def parts(self) -> tuple[Pass, ...]:
        """The passes that this one does the work of: itself, unless it was joined."""
        return (self,)

    def record(self) -> Record:
        """An empty record of this pass."""
        return Record(self.name, self.options)

    @property
    def options(self) -> dict[str, Option]:
        """Field values by name."""
        return {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}

    def __str__(self) -> str:
        return spell(self.name, self)


ROOMS = ("rewrites", "calibration", "quantisation", "placement")
"""Folders of passes, in the order in which a network goes through them."""

PASSES: Registry[Pass] = Registry(
    "spikec.passes",
    {f"spikec.compiler.{room}": [str(Path(__file__).parent / room)] for room in ROOMS},
    Pass,
    "pass",
    with_helpers=True,
)
"""All passes by name; each is imported when it is asked for."""


@contextmanager
def naming(name: str) -> Iterator[None]:
    """Let errors say which pass failed: the innermost one that is named."""
    try:
        yield
    except SpikecError as error:
        if not error.message.startswith("pass "):
            error.message = f"pass {name}: {error.message}"
        raise


def within(kind: str, value: float, low: float, high: float = math.inf) -> None:
    """Raise PassError unless an option's value lies between `low` and `high`."""
    if not low <= value <= high:
        wanted = f"{low:g} to {high:g}" if high < math.inf else f"at least {low:g}"
        raise PassError(f"option {kind} must be {wanted}, not {value:g}")


def joined(passes: Sequence[Pass]) -> list[Pass]:
    """The passes, neighbours that can do their work in one walk joined."""
    steps: list[Pass] = []
    for following in passes:
        both = steps[-1].joined(following) if steps else None
        if both is None:
            steps.append(following)
        else:
            steps[-1] = both
    return steps
