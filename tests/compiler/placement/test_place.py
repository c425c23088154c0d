"""Layers on neurocores: nothing is lost, no limit is passed unsaid, and what helps is said."""

import json
import xml.etree.ElementTree as ET
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import spikec
from spikec.compiler.pipeline import Context, Record
from spikec.compiler.placement.partition import demands, depths, layer_graph, place
from spikec.compiler.placement.place import Place
from spikec.ir import PassError, parse, verify
from spikec.ir.hardware import LOIHI2, HardwareSpec
from spikec.report.chip import colour, draw

NET = """
graph @net <stage=int, steps=4> {
  param @x.scale : f64[] = 1
  param @a.w : i8[2,1,3,3] = [[[[1,1,1],[1,0,1],[1,1,1]]], [[[1,1,1],[1,1,1],[1,1,1]]]]
  param @b.w : i8[2,2,3,3]
  param @s.w : i8[2] = [1, 1]
  param @n.theta : i24[] = 9
  param @d.w : i4[3,32]
  %x : u8[1,4,4] = input() <scale=@x.scale>
  %a : i24[2,4,4] = conv(%x) <w=@a.w, strides=[1,1], pads=[1,1,1,1], dilations=[1,1], groups=1>
  %n : spike[2,4,4] = integrate(%a) <theta=@n.theta, v0=@n.theta> from "Relu_1"
  %b : i24[2,4,4] = conv(%n) <w=@b.w, strides=[1,1], pads=[1,1,1,1], dilations=[1,1], groups=1>
  %m : spike[2,4,4] = integrate(%b) <theta=@n.theta, v0=@n.theta> from "Relu_2"
  %c : i24[2,4,4] = conv(%m) <w=@b.w, strides=[1,1], pads=[1,1,1,1], dilations=[1,1], groups=1>
  %s : i24[2,4,4] = affine(%n) <w=@s.w>
  %j : i24[2,4,4] = add(%c, %s)
  %k : spike[2,4,4] = integrate(%j) <theta=@n.theta, v0=@n.theta> from "Relu_3"
  %f : spike[32] = reshape(%k) <shape=[32]>
  %d : i24[3] = dense(%f) <w=@d.w>
  %o : i24[3] = accumulate(%d)
  return %o
}
"""


def net():
    graph = parse(NET)
    ones = {name: np.ones(graph.params[name].type.shape, np.int8) for name in ("b.w", "d.w")}
    return verify(graph.with_params(
        {n: spikec.ir.Param.of(a, graph.params[n].type.dtype) for n, a in ones.items()}
    ))  # fmt: skip


def run(graph, spec=LOIHI2, **options):
    record = Record("place", {})
    return verify(Place(**options).run(graph, Context(spec=spec), record)), record


def test_what_each_layer_needs():
    needs = {d.name: d for d in demands(net())}
    first = needs["n"]
    inner = 2 * 2
    full, edge, corner = 8, 5, 3  # non-zero taps: the centre of channel 0 is 0
    assert int(first.fan_in[:16].sum()) == inner * full + 8 * edge + 4 * corner
    assert list(first.kernels) == [8, 9]
    assert (first.neurons, first.senders, first.bits) == (32, 16, 8)
    assert list(needs["k"].kernels) == [19, 19]
    assert needs["k"].delays == {"n": 1, "m": 0}
    assert needs["o"].kernels is None
    assert (needs["o"].bits, list(needs["o"].fan_in)) == (4, [32, 32, 32])
    assert needs["o"].stored(True) == 48


def test_depths_count_synapses():
    assert depths(layer_graph(net())) == {"x": 0, "n": 1, "m": 2, "k": 3, "o": 4}


def test_the_first_core_stands_in_the_graph():
    graph, record = run(net(), replace(LOIHI2, neurons_per_core=20))
    cores = {v["name"]: (v["first_core"], v["cores"]) for v in record.summary["layers"]}
    assert {name: graph[name].operation.core for name in cores} == {
        name: first for name, (first, _) in cores.items()
    }
    assert cores == {"n": (0, 2), "m": (2, 2), "k": (4, 2), "o": (1, 1)}
    assert record.layers["n"]["placement"]["bound_by"] == "neurons"


@given(st.integers(1, 40), st.integers(8, 400), st.booleans())
def test_every_neuron_is_on_one_core_and_limits_hold(neurons, memory, sharing):
    needs = demands(net())
    spec = HardwareSpec("tiny", neurons_per_core=neurons, synaptic_bytes_per_core=memory)
    placed = place(needs, spec, sharing)
    excused = {problem.layer for problem in placed.problems}
    for demand in needs:
        parts = [n for core in placed.cores for name, n, _ in core.parts if name == demand.name]
        assert sum(parts) == demand.neurons
        assert len(parts) == len(placed.held[demand.name])
    for core in placed.cores:
        assert core.neurons <= neurons
        if not excused & {name for name, _, _ in core.parts}:
            assert core.memory <= memory
    for problem in placed.problems:
        assert problem.need > problem.have == memory


def test_sharing_saves_memory_and_both_are_reported():
    _, record = run(net())
    summary = record.summary
    assert summary["fits"]
    assert summary["memory"] < summary["memory_without_sharing"]
    assert summary["memory"] == 17 + 36 + 38 + 48
    assert "1 of 128 neurocores (1 without convolutional weight sharing)" in record.notes[0]


@pytest.mark.parametrize(
    ("changes", "layer", "limit", "over", "hint"),
    [
        ({"fan_in": 18}, "k", "fan_in", 1, "smaller kernels"),
        ({"axons_in_per_core": 20}, "m", "axons_in_per_core", 12, "narrower"),
        ({"max_delay": 0}, "k", "max_delay", 1, "skip path from %n"),
        ({"synaptic_bytes_per_core": 10}, "m", "synaptic_bytes_per_core", 8, "--weight-bits"),
        ({"neurons_per_core": 8, "cores_per_chip": 5}, None, "cores", 8, "3 chips"),
        ({"synapses_per_chip": 1000}, None, "synapses", None, "chips, or a smaller %"),
    ],
)
def test_what_does_not_fit_is_said(changes, layer, limit, over, hint):
    spec = replace(LOIHI2, **changes)
    _, record = run(net(), spec)
    problem = next(p for p in record.summary["problems"] if p["limit"] == limit)
    assert problem["layer"] == layer
    assert over is None or problem["need"] - problem["have"] == over
    assert hint in problem["hint"]
    assert any(problem["text"] in note for note in record.notes)
    with pytest.raises(PassError, match="does not fit on loihi2") as error:
        run(net(), spec, require=True)
    assert error.value.hint


def test_more_chips_help():
    spec = replace(LOIHI2, neurons_per_core=8, cores_per_chip=5, chips=3)
    assert run(net(), spec)[1].summary["fits"]


def test_no_two_layers_have_one_colour():
    assert len({colour(number) for number in range(60)}) == 60


def test_the_picture_is_well_formed_and_the_same_each_time():
    _, record = run(net(), replace(LOIHI2, neurons_per_core=20))
    drawn = draw(record.summary, "a <b>")
    assert drawn == draw(json.loads(json.dumps(record.summary)), "a <b>")
    root = ET.fromstring(drawn)
    titles = [t.text for t in root.iter("{http://www.w3.org/2000/svg}title")]
    assert len(titles) == record.summary["cores"]
    assert titles[1].startswith("core 1: 15 neurons")
    assert "o (3)" in titles[1]


def test_compile_places_and_inspect_shows(tiny_artifact, tmp_path):
    from typer.testing import CliRunner

    from spikec.cli import app

    placement = tiny_artifact.report.placement
    assert placement["fits"]
    out = tmp_path / "out"
    tiny_artifact.save(out)
    runner = CliRunner()
    found = runner.invoke(app, ["inspect", str(out), "--json", "--chip", str(tmp_path / "c.svg")])
    resources = json.loads(found.stdout)["resources"]
    assert resources["neurocores"] == placement["cores"]
    assert resources["memory"] == placement["memory"] > 0
    assert ET.parse(tmp_path / "c.svg").getroot().tag.endswith("svg")
    shown = runner.invoke(app, ["inspect", str(out)])
    assert "Placement on loihi2" in shown.output


def test_hardware_files_reach_the_compiler(tiny_onnx, tiny_data, tmp_path):
    path = tmp_path / "small.json"
    path.write_text(json.dumps({"cores_per_chip": 1, "neurons_per_core": 100, "weight_bits": 6}))
    settings = {"timesteps": 2, "samples": 8, "hardware": path, "weight_bits": 6}
    art = spikec.compile(tiny_onnx(), tiny_data, **settings)
    assert art.report.placement["hardware"] == "small"
    assert not art.report.placement["fits"]
    with pytest.raises(PassError, match="the network needs"):
        spikec.compile(tiny_onnx(), tiny_data, require_fit=True, **settings)


def test_artifacts_without_a_placement_are_placed_when_inspected(tiny_artifact):
    from spikec.driver import Artifact, placement

    report = {k: v for k, v in tiny_artifact.report.to_json().items() if k != "placement"}
    old = Artifact(replace(tiny_artifact.stored, report=report))
    assert placement(old) == tiny_artifact.report.placement


def test_inspecting_a_model_has_no_chip(tiny_onnx, tmp_path):
    from typer.testing import CliRunner

    from spikec.cli import app

    (tmp_path / "m.onnx").write_bytes(tiny_onnx().SerializeToString())
    found = CliRunner().invoke(app, ["inspect", str(tmp_path / "m.onnx"), "--chip", "c.svg"])
    assert isinstance(found.exception, spikec.UsageError)
