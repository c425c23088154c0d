"""Emitted C is equal to the reference on random graphs, or says by name what it cannot hold."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest
from campaign import Settings, portion
from cases import names, sound
from engines import compare, engines_of
from graphs import Style, grow

from spikec.backends.c.compiler import unavailable
from spikec.backends.c.emit import build
from spikec.backends.lowering import lower
from spikec.ir import BackendError

compiles = pytest.mark.skipif(unavailable() is not None, reason="no C compiler here")


@pytest.fixture(autouse=True)
def own_cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing compiled before is taken; the flags are those of users, whose compilers err, too."""
    monkeypatch.setenv("SPIKEC_CACHE", str(tmp_path_factory.getbasetemp() / "cache"))


def own_first() -> list[object]:
    """Cases that this engine got wrong, and those of other engines as slow tests."""
    return [
        name if name.startswith("c_") else pytest.param(name, marks=pytest.mark.slow)
        for name in names()
    ]


@compiles
@pytest.mark.parametrize("flags", ["-O3", "-O2"])
@pytest.mark.parametrize("name", own_first())
def test_found_cases(name: str, flags: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SPIKEC_CFLAGS", flags)
    case = sound(name)
    if case is not None:
        assert compare(case, engines_of(["c"])).differences == {}


@compiles
@pytest.mark.parametrize(("first", "count"), [(0, 8), pytest.param(8, 40, marks=pytest.mark.slow)])
def test_random_graphs(first: int, count: int, tmp_path: Path) -> None:
    tally = portion(range(first, first + count), Settings(("c",), tmp_path))
    assert tally.found == {}
    assert 2 * sum(tally.refusals.values()) < tally.graphs


def test_at_least_95_of_100_are_emitted() -> None:
    """Of graphs over all ops with numbers as trained networks have them; lists the others."""
    reasons: Counter[str] = Counter()
    for seed in range(100):
        try:
            build(lower(grow(seed, Style(wild=0.0, layered=0.9)).graph), 32)
        except BackendError as error:
            reasons[error.message] += 1
    assert sum(reasons.values()) <= 5, reasons
