"""Circuits are equal to the reference on random graphs, or say by name what they cannot hold."""

from __future__ import annotations

import shutil
from collections import Counter

import pytest
from engines import compare, engines_of
from graphs import Style, grow

from spikec.backends.verilog.emit import build
from spikec.ir import BackendError

simulates = pytest.mark.skipif(shutil.which("iverilog") is None, reason="no iverilog")
MOST_SAMPLES, MOST_STEPS = 5, 13
"""Of a graph that Icarus simulates in no time."""


@pytest.fixture(autouse=True)
def own_cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SPIKEC_CACHE", str(tmp_path_factory.getbasetemp() / "cache"))


@simulates
@pytest.mark.parametrize(
    "seed", [*range(5), *(pytest.param(seed, marks=pytest.mark.slow) for seed in range(5, 80))]
)
def test_random_graphs(seed: int) -> None:
    case = grow(seed, Style(wild=0.0, layered=0.9))
    samples = len(next(iter(case.feeds.values())))
    if samples > MOST_SAMPLES or case.graph.steps > MOST_STEPS:
        pytest.skip("it takes long in Icarus")
    engines = engines_of(["verilog{simulator=icarus}"])
    assert compare(case, engines, seed).differences == {}


def test_at_least_95_of_100_are_emitted() -> None:
    """Of graphs over all ops with numbers as trained networks have them; lists the others."""
    reasons: Counter[str] = Counter()
    for seed in range(100):
        try:
            build(grow(seed, Style(wild=0.0, layered=0.9)).graph, 200_000)
        except BackendError as error:
            reasons[error.message] += 1
    assert sum(reasons.values()) <= 5, reasons
