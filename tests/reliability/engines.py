"""Runs a case on all engines and says where one differs from the reference."""

from __future__ import annotations

import functools
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from unittest import mock

import numpy as np
from graphs import Case

from spikec.backends import engine
from spikec.ir import Graph, op_of
from spikec.ir.errors import BackendError, SpikecError
from spikec.runtime import fast
from spikec.runtime.check import traced_layers
from spikec.runtime.fast import simple
from spikec.runtime.fast.engine import plan_of, run_plan
from spikec.runtime.fast.tiles import DOT, LUT, TILES
from spikec.runtime.fast.vector import FEATURES
from spikec.runtime.interpreter import Feeds, Simulation, check_feeds
from spikec.runtime.interpreter import simulate as reference
from spikec.runtime.ranges import ranges_of

Simulate = Callable[[Graph, Feeds, int | None, Collection[str]], Simulation]
SUMS = {"lookups": LUT, "dots": DOT, "tiles": TILES}
"""Kinds of sums of compiled layers; tiles in plain code where the processor has none."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a run gave: arrays by name, or an error."""

    arrays: Mapping[str, Any]
    error: str = ""
    refused: bool = False
    """By the engine, with a reason: neither equal nor unequal."""


def by_sums(
    kind: int, graph: Graph, feeds: Feeds, steps: int | None, trace: Collection[str]
) -> Simulation:
    """The fast engine with one kind of sums, in one thread."""
    check_feeds(graph, feeds, steps or graph.steps)
    plan = plan_of(graph, steps or graph.steps, kind)
    found = run_plan(plan, feeds, trace, True, 1)
    return found if found is not None else simple.simulate(graph, feeds, steps, trace)


def in_proven_ranges(
    graph: Graph, feeds: Feeds, steps: int | None, trace: Collection[str]
) -> Simulation:
    """The reference, whose potentials lie in the ranges that are proven without inputs."""
    ranges = ranges_of(graph, steps)
    layers = {node.name for node in graph if op_of(node).stateful} - {*ranges.unknown}
    for name, layer in reference(graph, feeds, steps, layers).traces.items():
        bound = ranges.potentials[name]
        assert bound.low <= layer.potentials.min(), f"%{name} falls below {bound.low}"
        assert bound.high >= layer.potentials.max(), f"%{name} exceeds {bound.high}"
    return reference(graph, feeds, steps, trace)


def in_python_integers(
    graph: Graph, feeds: Feeds, steps: int | None, trace: Collection[str]
) -> Simulation:
    """The reference without its short cuts: no sum in machine integers, none in doubles."""
    with (
        mock.patch("spikec.ir.exact.LARGEST", 0),
        mock.patch("spikec.runtime.interpreter.LARGEST", 0),
    ):
        return reference(graph, feeds, steps, trace)


def _fast_engines() -> dict[str, Simulate]:
    engines: dict[str, Simulate] = {
        "fast": fast.simulate,
        "node by node": simple.simulate,
        "threads": functools.partial(fast.simulate, threads=3),
    }
    for name, kind in SUMS.items():
        if kind != LUT or FEATURES.lut:
            engines[name] = functools.partial(by_sums, kind)
    return engines


FAST = _fast_engines()
"""The fast engine in all its ways to compute."""
OWN: dict[str, Simulate] = {"ranges": in_proven_ranges, "python": in_python_integers}
"""What is not an engine and tested like one."""


def engines_of(names: Collection[str]) -> dict[str, Simulate]:
    """Engines by name; `fast` stands for all its ways to compute."""
    found: dict[str, Simulate] = {}
    for name in names:
        found |= FAST if name == "fast" else {name: OWN.get(name) or engine(name)}
    return found


def outcome(simulate: Simulate, case: Case, steps: int | None, trace: Collection[str]) -> Outcome:
    """Run; errors that are ours are outcomes, others are told as internal ones."""
    try:
        run = simulate(case.graph, case.feeds, steps, trace)
    except BackendError as error:
        return Outcome({}, str(error), refused=True)
    except SpikecError as error:
        return Outcome({}, f"{type(error).__name__}: {error}")
    except Exception as error:
        return Outcome({}, f"internal {type(error).__name__}: {error}")
    arrays = {f"readout {name}": x for name, x in run.readout.items()}
    arrays |= {f"events {name}": x for name, x in run.events.items()}
    arrays |= {f"units {name}": x for name, x in run.units.items()}
    for name, layer in run.traces.items():
        arrays[f"potentials {name}"] = layer.potentials
        if layer.spikes is not None:
            arrays[f"spikes {name}"] = layer.spikes
    return Outcome(arrays)


def difference(want: Outcome, got: Outcome) -> str:
    """Where two outcomes differ, empty where they do not."""
    if got.error.startswith("internal"):
        return got.error
    if got.refused:
        return ""
    if want.error or got.error:
        return "" if want.error == got.error else f"{got.error or 'no error'} for {want.error}"
    if want.arrays.keys() != got.arrays.keys():
        return f"has not the same keys: {sorted(want.arrays.keys() ^ got.arrays.keys())}"
    for name, x in want.arrays.items():
        y = got.arrays[name]
        if x.shape != y.shape:
            return f"{name} has shape {y.shape}, not {x.shape}"
        if (x != y).any():
            at = tuple(map(int, np.argwhere(x != y)[0]))
            return f"{name}: {y[at]} at {at}, not {x[at]}; {int((x != y).sum())} of {x.size} differ"
    return ""


@dataclass(frozen=True, slots=True)
class Way:
    """One way to run a case: engines, steps (the graph's own if None), and whether it is traced."""

    engines: tuple[str, ...]
    steps: int | None
    traced: bool


def all_ways(case: Case, names: Sequence[str]) -> list[Way]:
    """All engines as the graph says; traced; and in one step more and less."""
    fewer, more = max(1, case.graph.steps - 1), case.graph.steps + 1
    kept = tuple(names)
    return [Way(kept, None, False), Way(kept, None, True), Way(kept, fewer, False),
            Way(kept, more, True)]  # fmt: skip


def some_ways(case: Case, names: Sequence[str], seed: int) -> list[Way]:
    """One kind of sums untraced, another engine traced, any in fewer or more steps.

    Each engine that is not one of the fast one's ways to compute runs twice; Lava, whose runs take
    seconds, once.
    """
    rng = np.random.default_rng(seed)
    other = int(rng.integers(1, case.graph.steps + 3))
    if "lava" in names:
        rest = [name for name in names if name != "lava"]
        way = Way(("lava",), None if rng.random() < 0.7 else other, True)
        return [way, *(some_ways(case, rest, seed) if rest else [])]

    def any_of(few: Collection[str]) -> tuple[str, ...]:
        known = [name for name in names if name in few]
        return (known[int(rng.integers(len(known)))],) if known else ()

    plain = tuple(name for name in names if name not in FAST)
    return [
        Way((*any_of(SUMS), *plain), None, False),
        Way((*any_of(("fast", "node by node")), *plain), None, True),
        Way(any_of(names), other, other % 2 == 0),
    ]


@dataclass(slots=True)
class Findings:
    """What differs from the reference, and what engines refused, each by the engine's name."""

    differences: dict[str, str] = field(default_factory=dict)
    refusals: dict[str, str] = field(default_factory=dict)
    error: str = ""
    """The reference's, if the case ends in one."""
    runs: int = 0


def compare(case: Case, engines: Mapping[str, Simulate], seed: int | None = None) -> Findings:
    """Run a case on engines, in all ways or some that a seed chooses.

    An error of the reference that is not ours is a difference, too.
    """
    found = Findings()
    names = list(engines)
    for way in all_ways(case, names) if seed is None else some_ways(case, names, seed):
        trace = traced_layers(case.graph) if way.traced else []
        want = outcome(reference, case, way.steps, trace)
        found.error = found.error or want.error
        if want.error.startswith("internal"):
            found.differences["reference"] = want.error
            break
        for name in way.engines:
            got = outcome(engines[name], case, way.steps, trace)
            told, found.runs = difference(want, got), found.runs + 1
            if got.refused:
                found.refusals[name] = got.error
            elif told and name not in found.differences:
                steps = way.steps or case.graph.steps
                found.differences[name] = f"{told} (steps {steps}, traced: {way.traced})"
    return found
