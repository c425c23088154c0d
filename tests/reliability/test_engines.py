"""Engines are equal on every integer graph that verifies: found cases, and random graphs."""

from __future__ import annotations

from pathlib import Path

import pytest
from campaign import Settings, portion
from cases import load, names, save, sound
from engines import FAST, OWN, compare, difference, outcome
from graphs import INT_OPS, Style, grow
from shrink import shrink

from spikec.ir import Graph
from spikec.ir.neuron import Neuron
from spikec.runtime.interpreter import Simulation, simulate


@pytest.mark.parametrize("name", names())
def test_found_cases(name: str) -> None:
    case = sound(name)
    if case is not None:
        assert compare(case, FAST | OWN).differences == {}


@pytest.mark.parametrize("first", range(0, 120, 20))
def test_random_graphs(first: int, tmp_path: Path) -> None:
    settings = Settings(("fast", "ranges", "python"), tmp_path)
    assert portion(range(first, first + 20), settings).found == {}


def test_the_graphs_hold_all_ops_and_what_else_is_promised() -> None:
    """All ops, several inputs and outputs, dead nodes, overflows, inputs of many types."""
    cases = [grow(seed) for seed in range(300)]
    nodes = [node for case in cases for node in case.graph.nodes]
    assert {node.op for node in nodes} == set(INT_OPS)
    inputs = [node.type.dtype for case in cases for node in case.graph.inputs]
    assert {dtype.kind for dtype in inputs} == {"i", "u"}
    assert min(dtype.bits for dtype in inputs) == 1
    assert max(dtype.bits for dtype in inputs) > 32
    assert {len(case.graph.outputs) for case in cases} >= {1, 2, 3}
    assert {len(case.graph.inputs) for case in cases} == {1, 2, 3}
    assert {len(node.type.shape) for node in nodes} == {0, 1, 2, 3, 4}
    graded = {node.type.dtype.levels for node in nodes if node.op == "integrate_graded"}
    assert graded == set(range(2, 9))
    gathers = [{n.operation.gathers for n in case.graph.nodes if isinstance(n.operation, Neuron)}
               for case in cases]  # fmt: skip
    assert sum(kinds == {True, False} for kinds in gathers) > 60
    readers = [case.graph.readers for case in cases]
    assert any(name not in case.graph.outputs and not known[name]
               for case, known in zip(cases, readers, strict=True) for name in known)  # fmt: skip
    assert any(known[name] for case, known in zip(cases, readers, strict=True)
               for name in case.graph.outputs)  # fmt: skip
    errors = [outcome(simulate, case, None, []).error for case in cases]
    assert 5 < sum("reaches" in error for error in errors) < 120
    assert not any(error.startswith("internal") for error in errors)


def broken(graph: Graph, feeds: dict, steps: int | None, trace: list) -> Simulation:
    """An engine that counts an event too many behind max pooling."""
    run = simulate(graph, feeds, steps, trace)
    for name in {n.name for n in graph if n.op == "max_pool_count"} & run.events.keys():
        if run.events[name].any():
            run.events[name] = run.events[name] + 1
    return run


def test_a_difference_is_found_and_made_small(tmp_path: Path) -> None:
    found = 0
    for seed in range(60):
        case = grow(seed, Style(layered=0.8))
        engines = {"broken": broken}
        if not compare(case, engines).differences:
            continue
        found += 1
        small = shrink(case, lambda c: bool(compare(c, {"broken": broken}).differences))
        assert compare(small, engines).differences
        assert len(small.graph.nodes) <= 8
        assert small.graph.steps == 1
        assert len(next(iter(small.feeds.values()))) == 1
        save(small, tmp_path / "small", "what differs")
        again = load(tmp_path / "small")
        assert compare(again, engines).differences
        if found == 3:
            return
    raise AssertionError("no max pooling in 60 graphs")


def test_outcomes_are_compared() -> None:
    case = grow(0, Style(wild=0))
    want = outcome(simulate, case, None, [])
    assert difference(want, want) == ""
    other = outcome(simulate, case, case.graph.steps + 1, [])
    assert "shape" in difference(want, other)
    traced = outcome(simulate, case, None, [node.name for node in case.graph])
    assert traced.arrays.keys() > want.arrays.keys()
    assert "same keys" in difference(want, traced)
