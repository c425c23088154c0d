"""ONNX and Lava are equal to the reference, or say by name what they cannot hold."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

import pytest
from campaign import MODEST, Settings, portion
from cases import names, sound
from engines import compare, engines_of
from graphs import INT_OPS, grow

from spikec.backends import engine
from spikec.backends.lava.processes import CLASSES
from spikec.backends.onnx.layers import LAYERS
from spikec.ir import BackendError
from spikec.ir.op import Op
from spikec.ir.ops.neurons.integrate import Integrate


def lava_is_here() -> bool:
    try:
        engine("lava")
    except BackendError:
        return False
    return True


def without(known: Collection[type[Op]]) -> tuple[str, ...]:
    """Layers that a backend has nothing for."""
    return tuple(name for name, op in INT_OPS.items() if op.stateful and op not in known)


runs_lava = pytest.mark.skipif(not lava_is_here(), reason="Lava cannot run here")


@pytest.mark.parametrize("name", names())
def test_found_cases_in_onnx(name: str) -> None:
    case = sound(name)
    if case is not None:
        assert compare(case, engines_of(["onnx"])).differences == {}


@pytest.mark.parametrize("first", range(0, 60, 20))
def test_random_graphs_in_onnx(first: int, tmp_path: Path) -> None:
    tally = portion(range(first, first + 20), Settings(("onnx",), tmp_path, without(LAYERS)))
    assert tally.found == {}
    assert 2 * sum(tally.refusals.values()) < tally.graphs


def test_layers_that_an_engine_does_not_know_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delitem(LAYERS, Integrate)
    tally = portion(range(10), Settings(("onnx",), tmp_path))
    assert tally.found == {}
    assert any("has no ONNX form yet" in reason for reason in tally.refusals)


@runs_lava
@pytest.mark.lava
@pytest.mark.parametrize("name", [name for name in names() if name.startswith("lava")])
def test_found_cases_in_lava(name: str) -> None:
    case = sound(name)
    assert case is not None
    assert compare(case, engines_of(["lava"])).differences == {}


@runs_lava
@pytest.mark.lava
@pytest.mark.slow
def test_random_graphs_in_lava(tmp_path: Path) -> None:
    tally = portion(range(20), Settings(("lava",), tmp_path, without(CLASSES)))
    assert tally.found == {}
    assert 2 * sum(tally.refusals.values()) < tally.graphs


def test_a_chip_can_hold_what_its_style_makes() -> None:
    """But for widths that follow from ops, such as 25 bits of a sum."""
    nodes = [node for seed in range(60) for node in grow(seed, MODEST).graph]
    wide = [node for node in nodes if node.type.dtype.bits > 24]
    assert len(wide) < len(nodes) / 20
    assert all(node.type.shape for node in nodes)
