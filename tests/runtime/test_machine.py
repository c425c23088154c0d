"""Kernels are made once and kept; counts and blocks take no more room than they need."""

import ctypes
import subprocess
import sys

import numpy as np
import pytest

from spikec.ir import parse
from spikec.runtime.fast import engine, machine, simulate
from spikec.runtime.fast.counts import Narrow, counting
from spikec.runtime.fast.tiles import DOT

SUM = """
import ctypes, sys
from pathlib import Path
from spikec.runtime.fast import machine
machine._folder = lambda: Path(sys.argv[1])
kernel = machine.Kernel("sum_of_two", 2, lambda b, args: b.add(*args))
print(ctypes.CFUNCTYPE(*[ctypes.c_int64] * 3)(kernel.address)(40, 2))
"""


def sum_of_two(folder):
    command = [sys.executable, "-c", SUM, str(folder)]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


def test_a_kernel_is_kept_and_a_damaged_one_made_again(tmp_path):
    assert sum_of_two(tmp_path) == "42"
    (kept,) = tmp_path.iterdir()
    whole = kept.read_bytes()
    changed = kept.stat().st_mtime_ns
    assert sum_of_two(tmp_path) == "42"
    assert kept.stat().st_mtime_ns == changed
    kept.write_bytes(whole[:100])
    assert sum_of_two(tmp_path) == "42"
    assert kept.read_bytes() == whole


def test_a_folder_that_cannot_be_written_does_no_harm(tmp_path):
    (tmp_path / "file").write_text("")
    assert sum_of_two(tmp_path / "file") == "42"


def test_a_kernel_without_a_result_gives_0():
    kernel = machine.Kernel("nothing", 1, lambda b, args: None)
    assert ctypes.CFUNCTYPE(ctypes.c_int64, ctypes.c_int64)(kernel.address)(5) == 0


@pytest.mark.parametrize(
    ("samples", "kind"), [(1, np.uint8), (255, np.uint8), (256, np.uint16), (70000, np.uint32)]
)
def test_counts_take_as_many_bytes_as_samples_need(samples, kind):
    assert counting(samples) is kind


def test_counts_of_many_samples_do_not_wrap_around():
    total, more = Narrow(), Narrow()
    total["x"], more["x"] = np.full(3, 200, np.uint8), np.full(3, 100, np.uint8)
    total.add(more, 300)
    assert total["x"].tolist() == [300] * 3
    assert total["x"].dtype == np.int64


def test_blocks_that_take_much_room_run_one_after_the_other(graph_text, monkeypatch):
    """With the same results as those that run together."""
    graph = parse(graph_text)
    x = {"x": np.random.default_rng(0).integers(0, 20, (150, 1, 3, 3))}
    plan = engine.plan_of(graph, graph.steps, DOT)
    assert plan.room >= 32 * graph.steps * max(node.type.size for node in graph.nodes)
    sizes = []
    run = engine.Run.__init__

    def noted(self, plan, feeds, *rest):
        sizes.append(len(feeds["x"]))
        run(self, plan, feeds, *rest)

    monkeypatch.setattr(engine.Run, "__init__", noted)
    want = simulate(graph, x, threads=1)
    assert sizes == [64, 64, 22]
    sizes.clear()
    monkeypatch.setattr(engine, "ROOM", 0)
    got = simulate(graph, x, threads=1)
    assert sizes == [32, 32, 32, 32, 22]
    assert all((got.events[name] == want.events[name]).all() for name in want.events)
    assert all((got.readout[name] == want.readout[name]).all() for name in want.readout)
    sizes.clear()
    monkeypatch.setattr(engine, "MOST_ROOM", 0)
    one = simulate(graph, x, threads=4)  # one sample after the other: in images
    assert sizes == [1] * 150
    assert all((one.events[name] == want.events[name]).all() for name in want.events)
