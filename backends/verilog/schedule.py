"""When pixels are made: how much each ring must hold, and how many cycles a sample takes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from spikec.backends.lowering.records import Integers, Value
from spikec.backends.verilog.engines import LATENCY, Engine
from spikec.backends.verilog.windows import Edge


@dataclass(slots=True)
class _Progress:
    """A value's pixels as far as they are made."""

    value: Value
    engine: Engine | None
    readers: list[tuple[Edge, _Progress]] = field(default_factory=list)
    made: int = 0

    @property
    def elements(self) -> int:
        """Elements that are made."""
        return self.made * self.value.channels

    def make(self, made: Mapping[str, _Progress]) -> None:
        """Make one more pixel, after all that it needs."""
        edges = self.engine.edges if self.engine is not None else []
        while True:
            short = [e for e in edges if made[e.source.name].elements < e.wanted(self.made)]
            if not short:
                break
            # Whatever is behind most goes on, so that branches advance side by side.
            behind = min(short, key=lambda e: made[e.source.name].elements / e.wanted(self.made))
            made[behind.source.name].make(made)
        self.made += 1
        for edge, reader in self.readers:
            freed = reader.made < len(edge.release)
            start = int(edge.release[reader.made]) if freed else edge.source.positions
            come = -(-self.elements // edge.source.channels)
            edge.held = max(edge.held, come - start)


def find_held(inputs: Sequence[Value], engines: Sequence[Engine]) -> None:
    """Find how many pixels each edge's ring must hold, so that no engine waits for ever.

    The order in which pixels are made here needs no more; blocking streams of fixed order cannot
    lock where some order exists.
    """
    values = {value.name: _Progress(value, None) for value in inputs}
    for engine in engines:
        values[engine.stage.result.name] = _Progress(engine.stage.result, engine)
    for progress in values.values():
        for edge in progress.engine.edges if progress.engine is not None else ():
            values[edge.source.name].readers.append((edge, progress))
    for progress in reversed(values.values()):
        while progress.made < progress.value.positions:
            progress.make(values)


@dataclass(frozen=True, slots=True)
class Timing:
    """Cycles of a sample.

    Attributes:
        interval: From one sample to the next where they follow each other.
        latency: From the first element of a sample to the last result.
        slowest: What takes `interval`.
    """

    interval: int
    latency: int
    slowest: str


def timing(inputs: Sequence[Value], engines: Sequence[Engine], outputs: Sequence[str]) -> Timing:
    """Cycles without back-pressure; outputs by the names of their streams."""
    ends: dict[str, Integers] = {}
    busy: dict[str, int] = {}
    for value in inputs:
        ends[value.name] = (np.arange(value.positions) + 1) * value.channels
        busy[value.name] = value.size
    for engine in engines:
        name, pixels = engine.stage.result.name, engine.stage.result.positions
        ready = np.zeros(pixels, np.int64)
        for edge in engine.edges:
            known = np.concatenate([[0], ends[edge.source.name]])
            pixel = edge.source.size // (len(known) - 1)  # elements, as the source counts pixels
            ready = np.maximum(ready, known[-(-(edge.need + 1) * edge.source.channels // pixel)])
        cycles = engine.pixel_cycles
        # The end of a pixel: the latest start of a run without pause, and all cycles since.
        since = np.arange(pixels) * cycles
        ends[name] = np.maximum.accumulate(ready - since) + since + cycles + LATENCY
        busy[name] = cycles * pixels
    slowest = max(busy, key=busy.__getitem__)
    latency = max(int(ends[name][-1]) for name in outputs)
    return Timing(busy[slowest], latency, slowest)
