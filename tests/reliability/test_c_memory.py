"""The memory of emitted C: no stage reads or writes beyond a value, none loses what is needed."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from graphs import Case, Style, grow
from random_nets import Random, feeds

from spikec.backends.c.emit import Project, build
from spikec.backends.c.layout import BYTE, SpikeLayout, input_type
from spikec.backends.c.memory import Memory, plan_memory
from spikec.backends.c.schedule import Schedule, ordered
from spikec.backends.lowering import Plan, lower
from spikec.backends.lowering.records import Layer, Reshape, Stage, Value
from spikec.ir import BackendError, Graph, RangeError, signed, verify
from spikec.runtime.interpreter import as_read, simulate

FLAGS = (
    "-std=c99", "-pedantic", "-Wall", "-Wextra", "-Wconversion", "-Wshadow", "-Werror",
    "-fsanitize=undefined,address", "-fno-sanitize-recover",
)  # fmt: skip
SOURCES = ("network.c", "network_step.c", "weights.c", "main.c")
EXACT = """
static inline network_word exact_bits(const uint8_t *bits, int bit, int count, int most)
{
    network_word word = 0;
    for (int i = 0; i < count && i < most; ++i)
        word |= (network_word)network_bit(bits, bit + i) << i;
    return word;
}
#define network_bytes(bits, bit, count) exact_bits(bits, bit, count, NETWORK_WORD)
#define network_bits(bits, bit, count) exact_bits(bits, bit, count, NETWORK_WORD - 8)

#endif
"""
"""Reads no bit beside those that are asked for; the emitted functions read words."""


def case_of(seed: int) -> Case:
    """Even seeds: residual networks of layers; odd ones: any ops in any order."""
    if seed % 2 == 0:
        graph = Random(seed).grow(seed % 8)
        return Case(graph, feeds(graph, seed))
    return grow(seed, Style(wild=0.0, layered=0.8))


# Bounds, by what compilers check


def walled(made: Project) -> dict[str, str]:
    """The project with an array for each value, of the bytes that its table of memory says."""
    texts = dict(made.files)
    for name in ("network.c", "network_step.c"):
        texts[name] = _separate(texts[name])
    bits = texts["network_bits.h"]
    texts["network_bits.h"] = bits[: bits.rindex("#endif")] + EXACT
    return texts


def _separate(text: str) -> str:
    table = re.search(r"/\* Memory that all stages share.*?\*/", text, re.DOTALL)
    assert table is not None
    sizes = dict(re.findall(r"^ \* (\w+) +(\d+) +\d+ to \d+", table[0], re.MULTILINE))
    places = re.compile(r"static (u?int(\d+)_t) \*const (\w+) = network_u?int\d+(?: \+ \d+)?;")
    text = places.sub(lambda m: f"static {m[1]} {m[3]}[{8 * int(sizes[m[3]]) // int(m[2])}];", text)
    return re.sub(r"static u?int\d+_t network_u?int\d+\[\d+\];\n", "", text)


def emitted_values(graph: Graph, x: dict[str, Any]) -> list[list[int]] | None:
    """Potentials of all outputs of each sample; None where a value leaves its width."""
    try:
        readout = simulate(graph, x).readout
    except RangeError:
        return None
    parts = [np.asarray(readout[name][-1]).reshape(len(readout[name][-1]), -1)
             for name in graph.outputs]  # fmt: skip
    return np.concatenate(parts, axis=1).tolist()


def assert_sound(case: Case, made: Project, folder: Path, compiler: str) -> None:
    """Compile with all warnings and sanitisers, run both interfaces, compare with the reference.

    As emitted, and with walls between values.
    """
    want = emitted_values(case.graph, case.feeds)
    for value in made.plan.inputs:
        type_ = str(input_type(value.range)).removesuffix("_t")
        given = as_read(case.graph[value.name], case.feeds, case.graph.steps)
        (folder / f"{value.name}.raw").write_bytes(given.astype(type_).tobytes())
    for texts in (made.files, walled(made)):
        for file in (*SOURCES, "network.h", "weights.h", "network_bits.h"):
            (folder / file).write_text(texts[file])
        command = [compiler, *FLAGS, *SOURCES, "-o", "checked", "-lm"]
        built = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
        assert (built.returncode, built.stderr) == (0, "")
        for option in ([], ["--steps"]):
            inputs = [f"{value.name}.raw" for value in made.plan.inputs]
            ran = subprocess.run(["./checked", "--integers", *option, *inputs], cwd=folder,
                                 capture_output=True, text=True, check=False)  # fmt: skip
            if want is None:
                assert ran.returncode == 1
                assert re.fullmatch(r"error: a value leaves its width.*\n", ran.stderr)
            else:
                assert (ran.returncode, ran.stderr) == (0, "")
                assert [list(map(int, line.split())) for line in ran.stdout.splitlines()] == want


@pytest.mark.parametrize("compiler", ["gcc", "clang"])
@pytest.mark.parametrize(
    "seed", [2, 6, 9, *(pytest.param(n, marks=pytest.mark.slow) for n in range(10, 130))]
)
def test_each_value_in_an_array_of_its_own(seed: int, compiler: str, tmp_path: Path) -> None:
    if shutil.which(compiler) is None:
        pytest.skip(f"no {compiler}")
    case = case_of(seed)
    declared = [node.type.dtype.bounds for node in case.graph.inputs]
    held = [case.feeds[node.name] for node in case.graph.inputs]
    if any(x.min() < low or x.max() > high for x, (low, high) in zip(held, declared, strict=True)):
        pytest.skip("codes that the input cannot hold")
    try:
        made = build(lower(case.graph), 1 + seed % 40)
    except BackendError as error:
        pytest.skip(error.message)
    assert_sound(case, made, tmp_path, compiler)


@pytest.mark.parametrize("channels", [3, 8])
def test_windows_that_see_pads_alone(channels: int, tmp_path: Path) -> None:
    net = Random(0)
    spikes = net.neuron(net.conv(net.input("x", channels, 2, 4), 1, 1), first=True)
    window = {"strides": (1, 1), "dilations": (1, 1), "pads": (2, 4, 2, 3), "groups": 1}
    weights = net.weights(2, spikes.type.shape[0], 1, 2)
    current = net.add("conv", [spikes], signed(24), window, w=weights)
    out = net.add("accumulate", [current], signed(24))
    graph = verify(Graph("pads", "int", 3, tuple(net.nodes), (out.name,), net.params))
    case = Case(graph, feeds(graph, 0))
    assert_sound(case, build(lower(graph), 4), tmp_path, "gcc")


# Lifetimes, by a model of the memory


@dataclass
class Arena:
    """Which value and step each element of the shared arrays holds."""

    memory: Memory
    schedule: Schedule
    owners: dict[Any, Any] = field(init=False)
    numbers: dict[str, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.owners = {t: np.zeros((n, 2), np.int64) for t, n in self.memory.arenas.items()}

    def elements(self, value: Value, step: int) -> Any:
        """Owners of what a value holds of a step, or None where it lies outside."""
        root = self.memory.roots[value.name]
        if root not in self.memory.offsets:
            return None
        layout, at = self.memory.layouts[root], self.memory.offsets[root]
        own = self.memory.layouts[value.name]
        assert layout.size == own.size
        type_ = BYTE if isinstance(layout, SpikeLayout) else layout.type
        owners = self.owners[type_][at : at + layout.size]
        assert len(owners) == layout.size, f"{root} ends beyond its array"
        slot = step if layout.steps > 1 else 0
        if isinstance(layout, SpikeLayout):
            strings = owners.reshape(-1, layout.steps, layout.row_bytes, 2)
            return strings[:, slot]
        return owners.reshape(layout.steps, -1, 2)[slot]

    def mark(self, value: Value, step: int) -> tuple[int, int]:
        """What stands for a value's step: 0 for one that does not change."""
        number = self.numbers.setdefault(self.memory.roots[value.name], 1 + len(self.numbers))
        return number, step if value.timed else -1

    def assert_holds(self, value: Value, step: int, reader: str) -> None:
        """Assert that a value is where a stage reads it."""
        held = self.elements(value, step)
        if held is not None:
            assert (held == self.mark(value, step)).all(), f"{reader} reads another than {value}"

    def run(self, stage: Stage, steps: range) -> None:
        """Read all sources; then write the result, element by element where it takes a place."""
        name = stage.result.name
        for source in stage.sources:
            for step in steps:
                self.assert_holds(source, step, name)
        if isinstance(stage, Reshape) and self.memory.roots[name] != name:
            return
        for step in steps:
            held = self.elements(stage.result, step)
            if held is not None:
                held[:] = self.mark(stage.result, step)
        for source in stage.sources:
            overwritten = any(self._lost(source, step) for step in steps)
            if overwritten:
                assert isinstance(stage, Layer)
                readers = [t for t in stage.terms if t.source.name == source.name]
                assert all(term.pointwise for term in readers), f"{name} overwrites what it reads"
                roots = self.memory.roots
                assert self.memory.layouts[source.name] == self.memory.layouts[name]
                here = self.memory.offsets[roots[source.name]]
                assert here == self.memory.offsets[roots[name]]

    def _lost(self, source: Value, step: int) -> bool:
        held = self.elements(source, step)
        return held is not None and bool((held != self.mark(source, step)).any())


def runs(schedule: Schedule) -> Iterator[tuple[Stage, range]]:
    """Stages and the steps that they compute, in the order of the emitted calls."""
    plan, every = schedule.plan, range(schedule.plan.steps)
    if not schedule.stepwise:
        yield from ((stage, every) for stage in plan.stages)
        return
    for step in every:
        for stage in plan.stages:
            if stage.result.name not in schedule.late:
                yield stage, range(step, step + 1)
    yield from ((stage, every) for stage in plan.stages if stage.result.name in schedule.late)


def assert_kept(plan: Plan, stepwise: bool) -> None:
    schedule = Schedule.by_steps(plan) if stepwise else Schedule.whole(plan)
    arena = Arena(plan_memory(schedule), schedule)
    for stage, steps in runs(schedule):
        arena.run(stage, steps)


@pytest.mark.parametrize("stepwise", [False, True])
def test_nothing_is_overwritten_while_it_is_needed(stepwise: bool) -> None:
    for seed in range(120):
        try:
            plan = ordered(lower(case_of(seed).graph))
        except BackendError:
            continue
        assert_kept(plan, stepwise)
