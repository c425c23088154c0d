from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from lava_nets import GEOMETRY, I8, Net, assert_equal, runs_lava, small

from spikec.backends.lava import calls
from spikec.backends.lava.emit import emit
from spikec.backends.lava.planner import plan_network
from spikec.backends.lava.simulate import simulate
from spikec.driver.frames import with_frames
from spikec.ir import (
    OPS,
    SPIKE,
    BackendError,
    Graph,
    Param,
    RangeError,
    parse,
    signed,
)
from spikec.runtime.interpreter import simulate as reference

pytestmark = pytest.mark.lava


def made(graph: Graph) -> list[calls.Call]:
    """What the planned processes are made of."""
    return [process.call for process in plan_network(graph).processes.values()]


@runs_lava
def test_convolutions_and_pooling() -> None:
    net = Net(1)
    x = net.input(3, 9, 7)
    a = net.integrate(net.conv(x, 4, (3, 2), strides=(2, 1), pads=(1, 0, 1, 1)), 9000, 4)
    b = net.integrate(net.conv(x, 6, (3, 3), 3, pads=(1, 1, 1, 1), dilations=(2, 1)), 9000)
    c = net.signed(net.conv(b, 6, (3, 3), groups=6), 60)
    window = {"kernel": (2, 2), "strides": (2, 1), "pads": (0, 1, 0, 0), "dilations": (1, 1)}
    d = net.add("sum_pool", c, (6, 2, 5), attrs=window)
    net.readout(net.dense(net.flatten(a), 3))
    net.readout(net.dense(net.flatten(d), 3), "out2")
    graph = net.graph("out", "out2")
    stock = [call.stock for call in made(graph) if isinstance(call, calls.Convolution)]
    assert sorted(stock) == [False, False, True, True]  # the others have unequal pads
    assert_equal(graph, net.feeds(3))


@runs_lava
def test_frames(tmp_path: Path) -> None:
    """A frame for each step, beside an input that is constant, in both ways to run a project."""
    net = Net(7, steps=3)
    x, y = net.input(2, 4, 4), net.input(2, 4, 4, name="still")
    both = net.add("add", f"{net.conv(x, 3, (3, 3), **GEOMETRY)} "
                          f"{net.conv(y, 3, (3, 3), **GEOMETRY)}", (3, 4, 4))  # fmt: skip
    net.readout(net.dense(net.flatten(net.integrate(both, 9000)), 3))
    graph = with_frames(net.graph(), ["onnx/x"])
    feeds = net.feeds(2)
    feeds["x"] = np.random.default_rng(0).integers(0, 256, (2, 4, 2, 4, 4), np.uint8)
    want = assert_equal(graph, feeds).readout["out"][-1]
    emit(graph, tmp_path)
    np.savez(tmp_path / "inputs.npz", **feeds)
    command = [sys.executable, "run.py", "--input", "inputs.npz", "--output", "out.npz"]
    subprocess.run(command, cwd=tmp_path, check=True, timeout=300)
    with np.load(tmp_path / "out.npz") as found:
        np.testing.assert_array_equal(found["logits"], want / 3)


@runs_lava
def test_unrolled_convolutions() -> None:
    net = Net(2)
    x = net.input(8, 10, 12)
    a = net.integrate(net.conv(x, 32, (3, 3), **GEOMETRY), 20000, 32)
    b = net.integrate(net.conv(a, 32, (3, 3), 4, strides=(2, 2), pads=(1, 0, 0, 1)), 400)
    net.readout(net.conv(b, 2, (5, 6)))
    graph = net.graph()
    assert any(isinstance(call, calls.Convolution) and not call.stock for call in made(graph))
    assert_equal(graph, net.feeds())


@runs_lava
def test_one_axis_and_many_groups() -> None:
    net = Net(3)
    x = net.input(130, 6)
    a = net.integrate(net.conv(x, 130, (3,), 130, pads=(1, 1)), 5000)
    net.readout(net.dense(net.flatten(a), 4))
    assert_equal(net.graph(), net.feeds())


@runs_lava
def test_residual_paths_of_unequal_length() -> None:
    net = Net(4)
    first = net.integrate(net.conv(net.input(2, 6, 6), 3, (3, 3), **GEOMETRY), 9000, 3)
    second = net.signed(net.conv(first, 3, (3, 3), **GEOMETRY))
    third = net.conv(second, 3, (3, 3), **GEOMETRY)
    skip = net.add("affine", first, (3, 6, 6), w=net.weights(3))
    joined = net.add("add", f"{third} {skip} {first}", (3, 6, 6))
    fourth = net.signed(joined)
    again = net.add("add", f"{fourth} {fourth} {first}", (3, 6, 6))
    net.readout(net.dense(net.flatten(net.integrate(again, 3)), 5))
    graph = net.graph()
    plan = plan_network(graph)
    one_to_one = [call for call in made(graph) if isinstance(call, calls.OneToOne)]
    assert [call.delay for call in one_to_one if call.delay] == [1]
    assert plan.depth == 5
    assert_equal(graph, net.feeds(3), steps=7)


@runs_lava
def test_neurons() -> None:
    net = Net(5, steps=8)
    x = net.input(2, 4, 4)
    a = net.signed(net.conv(x, 3, (3, 3), **GEOMETRY), 9000, free=True)
    b = net.integrate(net.conv(a, 4, (3, 3), **GEOMETRY), 90, 4, 4, 4)
    c = net.signed(net.conv(b, 4, (3, 3), **GEOMETRY))
    window = {"kernel": (3, 2), "strides": (1, 2), "pads": (1, 0, 1, 0), "dilations": (1, 1)}
    d = net.add("max_pool_count", c, (4, 4, 2), SPIKE, window)
    net.readout(net.dense(net.flatten(d), 6))
    got = assert_equal(net.graph(), net.feeds(4))
    assert all((got.traces[name].spikes == -1).any() for name in (a, c, d))


@runs_lava
def test_two_inputs_constants_and_extreme_weights() -> None:
    net = Net(6)
    x, y = net.input(7), net.input(7, name="in.y")
    low = Param.of(np.full((4, 7), -128), I8)
    a = net.add("dense", x, (4,), w=low, b=net.values(-50, 50, 4))
    b = net.add("dense", y, (4,), w=Param.of(np.zeros((4, 7)), I8))
    c = net.add("affine", b, (4,), w=net.weights(4), b=net.values(0, 90, 4))
    d = net.integrate(net.add("add", f"{a} {c}", (4,)))
    net.readout(net.dense(d, 2))
    assert_equal(net.graph(), net.feeds())


@runs_lava
def test_an_input_that_nothing_reads() -> None:
    net = Net(10)
    net.input(3, name="unread")
    net.readout(net.dense(net.input(7), 2))
    assert_equal(net.graph(), net.feeds())


@runs_lava
def test_any_linear_op_by_its_matrix(monkeypatch: pytest.MonkeyPatch) -> None:
    from spikec.backends.lava import linear

    for op in ("dense", "sum_pool", "add"):
        monkeypatch.delitem(linear.LOWERINGS, OPS[op])
    net = Net(7)
    a = net.integrate(net.conv(net.input(2, 4, 4), 3, (3, 3), **GEOMETRY), 9000)
    window = {"kernel": (2, 2), "strides": (2, 2), "pads": (0,) * 4, "dilations": (1, 1)}
    b = net.add("sum_pool", net.add("add", f"{a} {a}", (3, 4, 4)), (3, 2, 2), attrs=window)
    c = net.add("dense", net.flatten(b), (4,), w=net.weights(4, 12), b=net.values(-9, 9, 4))
    net.readout(c)
    graph = net.graph()
    assert sum(isinstance(call, calls.Sparse) for call in made(graph)) == 4
    assert_equal(graph, net.feeds())


@runs_lava
def test_routing() -> None:
    net = Net(9)
    a = net.integrate(net.conv(net.input(2, 4, 5), 3, (3, 3), **GEOMETRY), 9000)
    b = net.add("concat", f"{a} {a}", (6, 4, 5), SPIKE, {"axis": 0})
    c = net.add("transpose", b, (4, 6, 5), SPIKE, {"perm": (1, 0, 2)})
    d = net.add("pad", c, (5, 6, 6), SPIKE, {"pads": (1, 0, 0, 0, 0, 1)})
    e = net.add("gather", d, (3, 6, 6), SPIKE, {"axis": 0, "indices": (4, 0, 4)})
    f = net.add("reduce_sum", e, (3, 1, 6), attrs={"axes": (1,)})
    net.readout(net.dense(net.flatten(f), 4))
    graph = net.graph()
    assert sum(isinstance(call, calls.Sparse) for call in made(graph)) == 6
    assert_equal(graph, net.feeds())


@runs_lava
@pytest.mark.parametrize("seed", [11, 12])
def test_random_networks(seed: int) -> None:
    net = Net(seed)
    values = [net.integrate(net.conv(net.input(2, 5, 5), 3, (3, 3), **GEOMETRY), 9000, 3)]
    for _ in range(7):
        x = str(net.rng.choice(values))
        grown = net.conv(x, 3, (3, 3), **GEOMETRY) if net.rng.random() < 0.6 else net.add(
            "affine", x, (3, 5, 5), w=net.weights(3))  # fmt: skip
        if net.rng.random() < 0.5:
            grown = net.add("add", f"{grown} {net.rng.choice(values)}", (3, 5, 5))
        values.append(net.signed(grown) if net.rng.random() < 0.5 else net.integrate(grown))
    net.readout(net.dense(net.flatten(net.add("add", " ".join(values), (3, 5, 5))), 4))
    assert_equal(net.graph(), net.feeds(3))


@runs_lava
@pytest.mark.parametrize("what", ["current", "potential"])
def test_overflow_names_layer_neuron_and_step(what: str, started: list[int]) -> None:
    weights = [[0, 0], [100, 100]] if what == "current" else [[0, 0], [50, 50]]
    graph = parse(f"""graph @wide <stage=int, steps=4> {{
      param @d.w : i8[2,2] = {weights}
      param @n.th : i16[] = 32767
      %x : u8[2] = input()
      %d : i16[2] = dense(%x) <w=@d.w> from "Gemm_0"
      %n : spike[2] = integrate(%d) <theta=@n.th, v0=@n.th> from "Relu_1"
      %r : i24[2] = accumulate(%n)
      return %r
    }}""")
    feeds = {"x": np.array([[0, 0], [200, 200]], np.uint8)}
    with pytest.raises(RangeError, match=r"neuron \[1\], step 1, sample 1; .*-32768 to 32767") as e:
        simulate(graph, feeds)
    assert e.value.loc == {"current": "Gemm_0", "potential": "Relu_1"}[what]
    with pytest.raises(RangeError) as want:
        reference(graph, feeds)
    assert str(e.value) == str(want.value)


@runs_lava
def test_overflow_of_a_value_that_no_layer_sees() -> None:
    graph = parse("""graph @narrow <stage=int, steps=2> {
      param @d.w : i8[1,2] = [[100, 100]]
      param @m.w : i8[1,2] = [[-100, -100]]
      %x : u8[2] = input()
      %d : i8[1] = dense(%x) <w=@d.w> from "Gemm_0"
      %m : i24[1] = dense(%x) <w=@m.w>
      %j : i24[1] = add(%d, %m)
      %r : i24[1] = accumulate(%j)
      return %r
    }""")
    feeds = {"x": np.array([[1, 1]], np.uint8)}
    with pytest.raises(RangeError) as want:
        reference(graph, feeds)
    with pytest.raises(RangeError) as got:
        simulate(graph, feeds)
    assert str(got.value) == str(want.value)


@runs_lava
def test_project_runs_alone(tmp_path: Path) -> None:
    net = small()
    graph, feeds = net.graph(), net.feeds(3)
    project = tmp_path / "project"
    emit(graph, project)
    np.save(tmp_path / "x.npy", feeds["x"])
    (tmp_path / "spikec.py").write_text("raise ImportError('not here')")
    environment = {**os.environ, "PYTHONPATH": str(tmp_path)}
    command = [sys.executable, str(project / "run.py"), "--input", str(tmp_path / "x.npy")]
    want = reference(graph, feeds)
    for tag in ("fixed_pt", "floating_pt"):
        output = tmp_path / f"{tag}.npz"
        run = [*command, "--output", str(output), "--tag", tag, "--spikes"]
        subprocess.run(run, env=environment, check=True, timeout=120, cwd=tmp_path)
        with np.load(output) as found:
            np.testing.assert_array_equal(found["potentials/out"], want.readout["out"])
            assert found["logits"].shape == (3, 3)
    bad = subprocess.run([*command, "--steps", "0"], env=environment, capture_output=True)
    assert bad.returncode == 2
    ruff = [sys.executable, "-m", "ruff", "check", str(project)]
    assert subprocess.run(ruff, capture_output=True).returncode == 0


def test_same_graph_same_bytes(tmp_path: Path) -> None:
    graph = small().graph()
    emit(graph, tmp_path / "a")
    emit(graph, tmp_path / "b")
    files = sorted(p.relative_to(tmp_path / "a") for p in (tmp_path / "a").rglob("*.*"))
    assert {"network.py", "weights.npz", "README.md", "pyproject.toml"} <= set(map(str, files))
    for file in files:
        assert (tmp_path / "a" / file).read_bytes() == (tmp_path / "b" / file).read_bytes(), file


def test_what_lava_cannot_hold_is_refused() -> None:
    net = Net()
    x = net.input(4)
    net.readout(net.add("affine", x, (4,), w=Param.of(np.full(4, 300), signed(16))))
    with pytest.raises(BackendError, match="weights from 0 to 300") as error:
        plan_network(net.graph())
    assert "onnx/affi1" in str(error.value)

    net = Net()
    net.add("accumulate", net.input(4), (4,), signed(32), name="out")
    with pytest.raises(BackendError, match="24 bits"):
        plan_network(net.graph())

    net = Net()
    net.readout(net.input(4))
    net.readout(net.input(4, name="y"), "out2")
    with pytest.raises(BackendError, match="not connected"):
        plan_network(net.graph("out", "out2"))
