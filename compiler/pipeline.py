"""Passes and how they are run: in order, each verified, timed and reported."""

from __future__ import annotations

import dataclasses
import math
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

from spikec.ir import Graph, ParseError, PassError, SpikecError, verify
from spikec.ir.hardware import LOIHI2, HardwareSpec
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
        seconds: Time it took; not part of the artifact.
    """

    name: str
    options: dict[str, Any]
    notes: list[str] = field(default_factory=list)
    layers: dict[str, dict[str, Any]] = field(default_factory=dict)
    summary: dict[str, Any] = field(default_factory=dict)
    judged: dict[str, Any] = field(default_factory=dict)
    seconds: float = 0.0

    def note(self, text: str) -> None:
        """Report a change in a sentence."""
        self.notes.append(text)

    def layer(self, name: str, **figures: Any) -> None:
        """Report figures of one layer."""
        self.layers.setdefault(name, {}).update(figures)


@dataclass(slots=True)
class Context:
    """What passes may use besides the graph.

    Attributes:
        calib: Calibration inputs by input node, real values (samples, *shape).
        steps: Time steps T to compile for.
        spec: Widths of the target.
        seed: Seeds every random choice.
        last: The last graph of each stage; that of stage ann is the calibration's reference.
        progress: Told about long work.
        judge: Measures a spiking graph on validation data.
    """

    calib: Feeds | None = None
    steps: int = 8
    spec: HardwareSpec = LOIHI2
    seed: int = 0
    last: dict[str, Graph] = field(default_factory=dict)
    progress: Progress = lambda what, done, total: None
    judge: Callable[[Graph], dict[str, Any]] | None = None

    def data(self, name: str) -> Feeds:
        """The calibration data; raises PassError for the pass called `name` if there are none."""
        if self.calib is None:
            raise PassError(f"pass {name} needs calibration data", hint="give --calib CALIB.npz")
        return self.calib


@dataclass(frozen=True)
class Pass:
    """A rewrite of the graph; its fields are its options. Subclass it in a room of `compiler`.

    The file's name is the pass's name on the command line. `run` is a pure function: it returns a
    new graph and shares arrays.
    """

    name: ClassVar[str] = ""
    stages: ClassVar[tuple[str, ...]] = ("ann",)
    """Stages that it accepts."""

    def run(self, graph: Graph, context: Context, record: Record) -> Graph:
        """The rewritten graph."""
        raise NotImplementedError(self.name)

    @property
    def options(self) -> dict[str, Any]:
        """Field values by name."""
        return dataclasses.asdict(self)

    def __str__(self) -> str:
        changed = [
            f"{f.name}={_spell(getattr(self, f.name))}"
            for f in dataclasses.fields(self)
            if getattr(self, f.name) != f.default
        ]
        return f"{self.name}{{{' '.join(changed)}}}" if changed else self.name


def _spell(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


@dataclass(slots=True)
class Pipeline:
    """An ordered list of passes.

    Attributes:
        passes: In order.
        verify_each: Verify the graph after each pass.
        dump: Folder for the text of the graph after each pass, `NN-name.spk`.
    """

    passes: Sequence[Pass]
    verify_each: bool = True
    dump: Path | None = None

    def run(self, graph: Graph, context: Context) -> tuple[Graph, list[Record]]:
        """Run all passes.

        Returns:
            The final graph and one record per pass.

        Raises:
            SpikecError: of the pass that failed, prefixed with its name.
        """
        records = [Record(p.name, p.options) for p in self.passes]
        context.last[graph.stage] = graph
        index = 0
        while index < len(self.passes):
            count = self._group(index)
            group, found = self.passes[index : index + count], records[index : index + count]
            name = "+".join(p.name for p in group)
            for each in group:
                if graph.stage not in each.stages:
                    raise PassError(
                        f"pass {each.name} works on stage {' or '.join(each.stages)}, "
                        f"the graph is at stage {graph.stage}"
                    )
            with _named(name):
                self._judge_parts(group, graph, context, found)
                start = time.perf_counter()
                graph = self._apply(group, graph, context, found)
                own = sum(record.seconds for record in found)
                found[0].seconds += time.perf_counter() - start - own
                if self.verify_each:
                    verify(graph)
            if context.judge is not None and graph.stage != "ann":
                found[-1].judged = context.judge(graph)
            context.last[graph.stage] = graph
            if self.dump is not None:
                self.dump.mkdir(parents=True, exist_ok=True)
                path = self.dump / f"{index + count:02d}-{name}.spk"
                path.write_text(graph.to_text(), encoding="utf-8")
            index += count
        return graph, records

    def _group(self, index: int) -> int:
        """How many passes from `index` on share one sweep over the layers."""
        from spikec.compiler.calibration.sweep import LayerPass

        count = 1
        if isinstance(self.passes[index], LayerPass):
            while index + count < len(self.passes) and isinstance(
                self.passes[index + count], LayerPass
            ):
                count += 1
        return count

    def _judge_parts(
        self, group: Sequence[Pass], graph: Graph, context: Context, records: list[Record]
    ) -> None:
        """Judge each pass of a shared sweep: the network after a sweep of it and those before."""
        if context.judge is None:
            return
        for count in range(1, len(group)):
            scratch = [Record(p.name, p.options) for p in group[:count]]
            part = self._apply(group[:count], graph, context, scratch)
            records[count - 1].judged = context.judge(part)

    def _apply(
        self, group: Sequence[Pass], graph: Graph, context: Context, records: list[Record]
    ) -> Graph:
        from spikec.compiler.calibration.sweep import LayerPass, sweep

        layered = [p for p in group if isinstance(p, LayerPass)]
        if layered:
            return sweep(layered, graph, context, records)
        return group[0].run(graph, context, records[0])


@contextmanager
def _named(name: str) -> Iterator[None]:
    try:
        yield
    except SpikecError as error:
        if not error.message.startswith("pass "):
            error.message = f"pass {name}: {error.message}"
        raise


def parse_pipeline(text: str) -> list[Pass]:
    """Read `"fold,qcfs{levels=4 per=layer},quantise"`.

    Raises:
        ParseError: for an unknown pass, option or value, with the place.
    """
    from spikec.compiler.passes import PASSES

    passes = []
    for part in _split(text):
        name, opened, rest = part.partition("{")
        name = name.strip()
        if name not in PASSES:
            raise ParseError(f"unknown pass '{name}'", hint=f"one of {', '.join(PASSES)}")
        if opened and not rest.endswith("}"):
            raise ParseError(f"options of pass '{name}' are not closed with '}}'")
        passes.append(_build(PASSES[name], rest[:-1]))
    if not passes:
        raise ParseError("the pipeline names no pass")
    return passes


def _split(text: str) -> list[str]:
    parts, depth, current = [], 0, ""
    for char in text:
        depth += (char == "{") - (char == "}")
        if char == "," and depth == 0:
            parts.append(current.strip())
            current = ""
        else:
            current += char
    parts.append(current.strip())
    return [part for part in parts if part]


def _build(kind: type[Pass], text: str) -> Pass:
    fields = {f.name: f for f in dataclasses.fields(kind)}
    options: dict[str, Any] = {}
    for item in text.replace(",", " ").split():
        key, equals, value = item.partition("=")
        if key not in fields or not equals:
            known = ", ".join(fields) or "none"
            raise ParseError(f"pass '{kind.name}' has no option '{item}'", hint=f"options: {known}")
        options[key] = _convert(kind, key, value, fields[key].default)
    return kind(**options)


def _convert(kind: type[Pass], key: str, value: str, default: Any) -> Any:
    try:
        if isinstance(default, bool):
            return {"true": True, "false": False}[value.lower()]
        return type(default)(value)
    except (KeyError, ValueError):
        want = type(default).__name__
        raise ParseError(f"option '{key}' of pass '{kind.name}' must be {want}") from None


def within(kind: str, value: float, low: float, high: float = math.inf) -> None:
    """Raise PassError unless an option's value lies between `low` and `high`."""
    if not low <= value <= high:
        wanted = f"{low:g} to {high:g}" if high < math.inf else f"at least {low:g}"
        raise PassError(f"option {kind} must be {wanted}, not {value:g}")


def choice(kind: str, value: str, allowed: Sequence[str]) -> None:
    """Raise PassError unless an option's value is one of `allowed`."""
    if value not in allowed:
        raise PassError(f"option {kind} must be one of {', '.join(allowed)}, not '{value}'")
