"""What a run in Lava takes is estimated, and refused before it starts."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
from lava_nets import small

from spikec.backends.lava import child, simulate
from spikec.backends.lava.estimate import OWN, Estimate, processes_left
from spikec.backends.lava.planner import plan_network
from spikec.ir import BackendError
from spikec.runtime.memory import OutOfMemory


@pytest.fixture
def no_start(monkeypatch: pytest.MonkeyPatch) -> None:
    def started(*_: object) -> None:
        raise AssertionError("a process was started")

    monkeypatch.setattr(child.subprocess, "Popen", started)


def estimate(samples: int = 1, traced: int = 0) -> Estimate:
    graph = small().graph()
    return Estimate.of(graph, plan_network(graph), samples, graph.steps, traced)


def test_more_of_all_takes_more() -> None:
    one, many = estimate(), estimate(samples=1000, traced=500)
    assert one.processes == many.processes == len(plan_network(small().graph()).processes) + OWN
    assert many.memory > one.memory
    assert many.seconds > one.seconds
    assert one.seconds < 5
    assert one.memory < 1 << 28


def test_a_run_that_takes_too_long_is_not_started(no_start: None) -> None:
    net = small()
    with pytest.raises(BackendError) as caught:
        simulate(net.graph(), net.feeds(1), steps=400_000)
    assert "Lava would take about 33 minutes" in str(caught.value)
    assert "10 minutes are allowed" in str(caught.value)
    assert caught.value.hint is not None
    for way in ("'lava{seconds=", "--limit", "reference,fast", "--target lava"):
        assert way in caught.value.hint


def test_a_run_that_needs_too_much_memory_is_not_started(
    no_start: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SPIKEC_MEMORY", "100M")
    net = small()
    with pytest.raises(OutOfMemory, match=r"needs about \d+ MiB of memory, of which 100 MiB"):
        simulate(net.graph(), net.feeds(1))


def test_more_processes_than_there_may_be_are_not_started(tmp_path: Path) -> None:
    (tmp_path / "proc/self").mkdir(parents=True)
    (tmp_path / "proc/self/cgroup").write_text("0::/job/step\n")
    group = tmp_path / "sys/fs/cgroup/job"
    (group / "step").mkdir(parents=True)
    (group / "step" / "pids.max").write_text("max\n")
    (group / "step" / "pids.current").write_text("7\n")
    (group / "pids.max").write_text("20\n")
    (group / "pids.current").write_text("12\n")
    assert processes_left(tmp_path) == 8
    found = dataclasses.replace(estimate(), processes=9)
    with pytest.raises(BackendError, match="would start 9 processes, the system allows 8 more"):
        found.refuse(600, tmp_path)
    dataclasses.replace(found, processes=8).refuse(600, tmp_path)
