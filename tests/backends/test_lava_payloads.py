"""Binary digits, integer payloads and windows with payloads in Lava."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from lava_nets import GEOMETRY, Net, assert_equal, runs_lava

from spikec.backends.lava.emit import emit
from spikec.backends.lava.planner import plan_network
from spikec.ir import OPS, BackendError
from spikec.ir.types import TensorType
from spikec.runtime.coding import decode
from spikec.runtime.interpreter import simulate as reference

pytestmark = pytest.mark.lava

KINDS: dict[str, dict[str, Any]] = {
    "integrate_integer": {"bits": 8},
    "integrate_window_integer": {"bits": 3},
    "integrate_window_graded": {"levels": 4},
    "integrate_radix": {},
}


def neuron(net: Net, op: str, current: str, theta: int, *, free: bool = False) -> str:
    """A layer of some neurons, with random integers."""
    channels = net.shape(current)[0]
    made = OPS[op].of({"free": free, **KINDS[op]})
    p = {"theta": net.values(theta, 2 * theta, channels), "v0": net.values(0, theta),
         "bias": net.values(-theta // 8, theta // 4, channels)}  # fmt: skip
    if op == "integrate_window_graded":
        p["fire"] = net.values(3 * theta // 2, 2 * theta, channels)
    dtype = made.payload_type([TensorType(net.nodes[current].type.dtype, ())])
    return net.add(op, current, net.shape(current), dtype, made.attributes(), **p)


def residual(op: str, seed: int, steps: int, theta: int) -> Net:
    """A relay, a join of paths of different length, pooling and negative values."""
    net = Net(seed, steps)
    first = neuron(net, op, net.conv(net.input(2, 6, 6), 3, (3, 3), **GEOMETRY), 9000)
    second = neuron(net, op, net.conv(first, 3, (3, 3), **GEOMETRY), theta, free=True)
    third = net.conv(second, 3, (3, 3), **GEOMETRY)
    skip = net.add("affine", first, (3, 6, 6), w=net.weights(3))
    joined = neuron(net, op, net.add("add", f"{third} {skip} {first}", (3, 6, 6)), theta)
    window = {"kernel": (2, 2), "strides": (2, 2), "pads": (0,) * 4, "dilations": (1, 1)}
    pool = "max_pool_radix" if op == "integrate_radix" else "max_pool_count"
    pooled = net.add(pool, joined, (3, 3, 3), net.nodes[joined].type.dtype, window)
    out = net.dense(net.flatten(pooled), 4)
    readout = "accumulate_radix" if op == "integrate_radix" else "accumulate"
    net.add(readout, out, (4,), name="out", bias=net.values(-9, 9))
    return net


@runs_lava
@pytest.mark.parametrize(
    ("op", "steps", "theta", "tag"),
    [
        ("integrate_radix", 5, 400, "fixed_pt"),
        ("integrate_radix", 3, 400, "floating_pt"),
        ("integrate_integer", 4, 900, "fixed_pt"),
        ("integrate_integer", 1, 90, "floating_pt"),
        ("integrate_window_integer", 3, 400, "fixed_pt"),
        ("integrate_window_graded", 3, 400, "fixed_pt"),
    ],
)
def test_they_fire_as_the_reference(op: str, steps: int, theta: int, tag: str) -> None:
    net = residual(op, 3, steps, theta)
    got = assert_equal(net.graph(), net.feeds(3), tag=tag)
    spikes = [trace.spikes for trace in got.traces.values() if trace.spikes is not None]
    assert all(any((s == sign).any() for s in spikes) for sign in (1, -1))
    assert op == "integrate_radix" or any((s > 1).any() for s in spikes)


def test_a_project_tells_what_digits_stand_for(tmp_path: Path) -> None:
    net = residual("integrate_radix", 4, 4, 400)
    graph = net.graph()
    emit(graph, tmp_path / "project")
    text = (tmp_path / "project" / "network.py").read_text()
    assert "RADIX = True" in text
    assert plan_network(graph).depth == 3 * 4 + 4
    assert "the numbers that digits spell" in (tmp_path / "project" / "README.md").read_text()


@runs_lava
def test_a_project_decodes_digits(tmp_path: Path) -> None:
    net = residual("integrate_radix", 5, 3, 400)
    graph, feeds = net.graph(), net.feeds(2)
    emit(graph, tmp_path / "project")
    np.save(tmp_path / "x.npy", feeds["x"])
    command = [sys.executable, "run.py", "--input", "../x.npy", "--output", "../y.npz"]
    subprocess.run(command, cwd=tmp_path / "project", check=True, capture_output=True)
    potential = reference(graph, feeds).readout["out"][-1]
    with np.load(tmp_path / "y.npz") as found:
        np.testing.assert_allclose(found["logits"], decode(graph, "out", potential, 3), rtol=1e-12)


def test_pooled_digits_that_leave_24_bits_are_refused() -> None:
    with pytest.raises(BackendError, match="narrower than what it counts"):
        plan_network(residual("integrate_radix", 6, 4, 400).graph(), 24)
