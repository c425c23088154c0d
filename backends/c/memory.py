"""Where each value of a plan lies: one array per element type, shared by liveness."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

from spikec.backends.c.layout import BYTE, CType, NumberLayout, SpikeLayout, input_type
from spikec.backends.c.schedule import Schedule
from spikec.backends.lowering.liveness import Block, Lifetime, lifetimes, pack, replaced
from spikec.backends.lowering.records import Accumulate, Layer, Plan, Reshape, Spikes, Value

SLACK = 8
"""Bytes behind all spikes, as bits are read a word at a time."""


@dataclass(frozen=True, slots=True)
class Memory:
    """Layouts and places of all values.

    Attributes:
        layouts: Of each value.
        roots: For each value the one whose memory it is: itself, or what it reshapes.
        arenas: Elements of each shared array, by type; spikes are bytes.
        offsets: First element of each value in the shared array of its type.
        lives: When each value is needed.
    """

    layouts: Mapping[str, SpikeLayout | NumberLayout]
    roots: Mapping[str, str]
    arenas: Mapping[CType, int]
    offsets: Mapping[str, int]
    lives: Mapping[str, Lifetime]

    @property
    def bytes(self) -> int:
        """Bytes of all shared arrays."""
        return sum(type_.size * count for type_, count in self.arenas.items())


def plan_memory(schedule: Schedule) -> Memory:
    """The memory of a plan under a schedule.

    A layer's result may take the place of what it reads last (`replaced`); a source with fewer
    planes than the result gets as many, where all values together then need less.
    """
    best, wider = _plan(schedule, {}), dict[str, int]()
    for source, planes in _narrower(schedule.plan):
        tried = _plan(schedule, {**wider, source: planes})
        if tried.bytes < best.bytes:
            best, wider = tried, {**wider, source: planes}
    return best


def _narrower(plan: Plan) -> Iterator[tuple[str, int]]:
    """Sources whose place a result could take if they had as many planes, and how many."""
    lives = lifetimes(plan)
    for number, stage in enumerate(plan.stages):
        source = replaced(stage, number, lives)
        coding = stage.result.coding
        if source is not None and isinstance(coding, Spikes):
            yield source, len(coding.payloads)


def _plan(schedule: Schedule, wider: Mapping[str, int]) -> Memory:
    plan = schedule.plan
    layouts: dict[str, SpikeLayout | NumberLayout] = {}
    for value in plan.inputs:
        held = schedule.held(value)
        layouts[value.name] = NumberLayout.of(value, held, input_type(value.range))
    roots = {value.name: value.name for value in plan.inputs}
    for stage in plan.stages:
        result = stage.result
        held = schedule.held(result)
        roots[result.name] = result.name
        layout = _layout(result, held)
        if isinstance(layout, SpikeLayout) and result.name in wider:
            layout = replace(layout, planes=max(layout.planes, wider[result.name]))
        if isinstance(stage, Reshape):
            shared = _reshaped(layouts[stage.source.name], result, held)
            if shared is not None:
                layout = shared
                roots[result.name] = roots[stage.source.name]
        layouts[result.name] = layout
    lives = _lives(schedule, roots)
    groups = _groups(plan, roots, lives, layouts)
    arenas: dict[CType, int] = {}
    offsets: dict[str, int] = {}
    types = {_type(layouts[name]) for name in groups}
    for type_ in sorted(types, key=lambda t: (t.bits, t.signed)):
        blocks = [
            Block(tuple(names), layouts[names[0]].size, _union([lives[n] for n in names]))
            for names in groups.values()
            if _type(layouts[names[0]]) == type_
        ]
        places, size = pack(blocks)
        offsets |= places
        arenas[type_] = size + (SLACK if type_ == BYTE else 0)
    return Memory(layouts, roots, arenas, offsets, lives)


def _layout(value: Value, steps: int) -> SpikeLayout | NumberLayout:
    spiking = isinstance(value.coding, Spikes)
    return SpikeLayout.of(value, steps) if spiking else NumberLayout.of(value, steps)


def _reshaped(
    source: SpikeLayout | NumberLayout, result: Value, steps: int
) -> SpikeLayout | NumberLayout | None:
    """The layout of a reshaped value in the memory of its source, or None if it needs its own."""
    if isinstance(source, NumberLayout):
        return NumberLayout(source.type, result.positions, source.elements, source.steps)
    wanted = SpikeLayout.of(result, steps)
    return wanted if wanted == source else None


def _type(layout: SpikeLayout | NumberLayout) -> CType:
    return BYTE if isinstance(layout, SpikeLayout) else layout.type


def _lives(schedule: Schedule, roots: Mapping[str, str]) -> dict[str, Lifetime]:
    """Lifetimes of roots, as long as anything reads their memory.

    What is recorded step by step lives from the first stage of the first step on.
    """
    lives: dict[str, Lifetime] = {}
    for name, life in lifetimes(schedule.plan).items():
        root = roots[name]
        life = Lifetime(0, life.last) if name in schedule.recorded else life
        lives[root] = _union([lives[root], life]) if root in lives else life
    return lives


def _groups(
    plan: Plan,
    roots: Mapping[str, str],
    lives: Mapping[str, Lifetime],
    layouts: Mapping[str, SpikeLayout | NumberLayout],
) -> dict[str, list[str]]:
    """Values that take the same memory one after the other, by the first of them."""
    inputs, first = {value.name for value in plan.inputs}, dict[str, str]()
    read = {source.name for stage in plan.stages for source in stage.sources}
    groups: dict[str, list[str]] = {}
    outer = {name: life for name, life in lives.items() if name not in inputs}
    for number, stage in enumerate(plan.stages):
        name = stage.result.name
        readout = isinstance(stage, Layer) and isinstance(stage.rule, Accumulate)
        if roots[name] != name or (readout and name not in read):
            continue
        shared = [roots[source.name] for source in stage.sources]
        before = replaced(stage, number, outer)
        if before is not None and (shared.count(before) > 1 or layouts[before] != layouts[name]):
            before = None
        first[name] = first[before] if before is not None else name
        groups.setdefault(first[name], []).append(name)
    return groups


def _union(lives: list[Lifetime]) -> Lifetime:
    return Lifetime(min(life.first for life in lives), max(life.last for life in lives))
