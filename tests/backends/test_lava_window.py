"""The layerwise schedule in Lava: layers that gather a window before they fire."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from lava_nets import GEOMETRY, Net, assert_equal, runs_lava

from spikec.backends.lava.calls import Delay, OneToOne
from spikec.backends.lava.emit import emit
from spikec.backends.lava.planner import plan_network
from spikec.backends.lava.simulate import simulate
from spikec.ir import RangeError, parse
from spikec.runtime.interpreter import simulate as reference

pytestmark = pytest.mark.lava


def residual(seed: int, steps: int) -> Net:
    """Windows behind windows, a skip path over two of them, pooling and negative spikes."""
    net = Net(seed, steps)
    first = net.window(net.conv(net.input(2, 6, 6), 3, (3, 3), **GEOMETRY), 9000)
    second = net.window(net.conv(first, 3, (3, 3), **GEOMETRY), free=True)
    third = net.conv(second, 3, (3, 3), **GEOMETRY)
    skip = net.add("affine", first, (3, 6, 6), w=net.weights(3))
    joined = net.window(net.add("add", f"{third} {skip} {first}", (3, 6, 6)))
    window = {"kernel": (2, 2), "strides": (2, 2), "pads": (0,) * 4, "dilations": (1, 1)}
    pooled = net.add("max_pool_count", joined, (3, 3, 3), net.nodes[joined].type.dtype, window)
    net.readout(net.dense(net.flatten(pooled), 4))
    return net


@runs_lava
@pytest.mark.parametrize("steps", [1, 5])
@pytest.mark.parametrize("tag", ["fixed_pt", "floating_pt"])
def test_windows_fire_as_the_reference(steps: int, tag: str) -> None:
    net = residual(3, steps)
    got = assert_equal(net.graph(), net.feeds(4), tag=tag)
    spikes = [trace.spikes for trace in got.traces.values() if trace.spikes is not None]
    assert all(any((s == sign).any() for s in spikes) for sign in (1, -1))


@runs_lava
def test_a_skip_path_waits_longer_than_one_synapse_can() -> None:
    net = residual(4, 70)
    graph = net.graph()
    made = [process.call for process in plan_network(graph).processes.values()]
    delays = [call.steps for call in made if isinstance(call, Delay)]
    assert 62 in delays + [call.delay for call in made if isinstance(call, OneToOne)]
    assert_equal(graph, {"x": net.feeds(2)["x"] // 8})


@runs_lava
def test_windows_at_joins_and_relays_alone() -> None:
    """A mixed schedule: what fires at once behind a window, and beside one, is still in step."""
    net = Net(8, 4)
    first = net.integrate(net.conv(net.input(2, 6, 6), 3, (3, 3), **GEOMETRY), 9000)
    second = net.signed(net.conv(first, 3, (3, 3), **GEOMETRY))
    relay = net.window(net.conv(second, 3, (3, 3), **GEOMETRY), free=True)
    third = net.signed(net.conv(relay, 3, (3, 3), **GEOMETRY))
    skip = net.add("affine", first, (3, 6, 6), w=net.weights(3))
    branch = net.conv(third, 3, (3, 3), **GEOMETRY)
    joined = net.window(net.add("add", f"{branch} {skip} {relay}", (3, 6, 6)))
    net.readout(net.dense(net.flatten(net.integrate(net.conv(joined, 3, (3, 3)))), 4))
    graph = net.graph()
    # Two windows and the seven synapses of the longest path.
    assert plan_network(graph).depth == 2 * 4 + 7
    assert_equal(graph, net.feeds(3))


@runs_lava
def test_another_number_of_steps_is_another_plan() -> None:
    net = residual(5, 6)
    graph = net.graph()
    # Three windows and the four synapses of the longest path.
    assert [plan_network(graph, steps).depth for steps in (6, 3)] == [3 * 6 + 4, 3 * 3 + 4]
    assert_equal(graph, net.feeds(2), steps=3)


def test_a_project_of_windows_takes_its_own_steps_only(tmp_path: Path) -> None:
    net = residual(6, 4)
    emit(net.graph(), tmp_path / "project")
    np.save(tmp_path / "x.npy", net.feeds(1)["x"])
    command = [sys.executable, "run.py", "--input", "../x.npy", "--steps", "3"]
    run = subprocess.run(command, cwd=tmp_path / "project", capture_output=True, text=True)
    assert run.returncode == 2
    assert "for 4 steps only" in run.stderr


@runs_lava
def test_an_overflowing_sum_is_found_where_the_reference_finds_it() -> None:
    graph = parse("""graph @wide <stage=int, steps=4> {
      param @d.w : i8[2,2] = [[0, 0], [50, 50]]
      param @n.th : i16[] = 300
      param @n.v0 : i16[] = 0
      %x : u8[2] = input()
      %d : i16[2] = dense(%x) <w=@d.w>
      %n : spike[2] = integrate_window(%d) <theta=@n.th, v0=@n.v0, free=false>
      %r : i24[2] = accumulate(%n)
      return %r
    }""")
    fits = {"x": np.array([[0, 0], [80, 80]], np.uint8)}
    assert_equal(graph, fits)
    feeds = {"x": np.array([[0, 0], [90, 90]], np.uint8)}
    for engine in (reference, simulate):
        with pytest.raises(RangeError, match=r"36000 at neuron \[1\], step 1, sample 1"):
            engine(graph, feeds)
