"""Faults put into an engine or an artifact are found, located, explained and shrunk."""

import json
from dataclasses import replace

import numpy as np
import pytest
from typer.testing import CliRunner

import spikec
from spikec import driver
from spikec.backends import BACKENDS, Engine
from spikec.cli import app
from spikec.driver import differences
from spikec.ir import OPS, Param, parse, spread, verify
from spikec.runtime import golden
from spikec.runtime.artifact import Stored
from spikec.runtime.data import Dataset
from spikec.runtime.interpreter import simulate

TEXT = """
graph @net <stage=int, steps=6> {
  param @x.scale : f64[] = 1
  param @x.offset : f64[] = 0
  param @a.w : i8[4,1,3,3]
  param @n.theta : i24[4] = [20, 31, 8, 15]
  param @n.v0 : i24[] = 5
  param @n.bias : i24[4] = [1, -2, 3, 0]
  param @b.w : i8[3,4,3,3]
  param @m.theta : i24[3] = [9, 12, 7]
  param @m.v0 : i24[3] = [4, 6, 3]
  param @m.neg : i24[] = 0
  param @s.w : i8[3] = [5, 7, 3]
  param @k.theta : i24[] = 11
  param @d.w : i8[5,48]
  param @o.scale : f64[5] = [0.5, 0.5, 0.5, 0.5, 0.5]
  %x : u8[1,4,4] = input() <scale=@x.scale, offset=@x.offset> from "image"
  %a : i24[4,4,4] = conv(%x) <w=@a.w, strides=[1,1], pads=[1,1,1,1], dilations=[1,1], groups=1>
  %n : spike[4,4,4] = integrate(%a) <theta=@n.theta, v0=@n.v0, bias=@n.bias> from "Relu_1"
  %b : i24[3,4,4] = conv(%n) <w=@b.w, strides=[1,1], pads=[1,1,1,1], dilations=[1,1], groups=1>
  %m : spike[3,4,4] = integrate_signed(%b)
        <theta=@m.theta, v0=@m.v0, theta_neg=@m.neg, free=false> from "Relu_2"
  %s : i24[3,4,4] = affine(%m) <w=@s.w>
  %k : spike[3,4,4] = integrate(%s) <theta=@k.theta, v0=@k.theta> from "Relu_3"
  %f : spike[48] = reshape(%k) <shape=[48]>
  %d : i24[5] = dense(%f) <w=@d.w>
  %o : i24[5] = accumulate(%d) <scale=@o.scale>
  return %o
}
"""


@pytest.fixture(scope="module")
def art():
    graph, rng = parse(TEXT), np.random.default_rng(3)
    values = {
        name: Param.of(rng.integers(-9, 10, type_.shape), type_.dtype)
        for name, type_ in ((n, graph.params[n].type) for n in ("a.w", "b.w", "d.w"))
    }  # fmt: skip
    graph = verify(graph.with_params(values))
    model = {"file": "net.onnx", "sha256": "0" * 64}
    manifest = {"target": {"name": "numpy", "options": {}}, "steps": 6, "passes": [],
                "model": model, "spikec": "0"}  # fmt: skip
    report = {"operators": {}, "notes": [], "layers": []}
    return spikec.Artifact(Stored(graph, graph, manifest, report))


@pytest.fixture(scope="module")
def x():
    return np.random.default_rng(0).integers(0, 4, (12, 1, 4, 4)).astype(np.float32)


def broken_scan(layer, how, right):
    """The scan of a neuron op with a fault in one layer."""

    def scan(op, inputs, params, steps):
        if params["theta"] is not layer:
            return right(op, inputs, params, steps)
        current = np.broadcast_to(inputs[0], (steps, *inputs[0].shape[1:]))
        shape = current.shape[2:]
        p = {role: spread(a, shape).astype(np.int64) for role, a in params.items()}
        v = np.empty(current.shape[1:], np.int64)
        v[...] = p["v0"]
        count, spikes, potentials = np.zeros_like(v), [], []
        for t in range(steps):
            now = current[t - 1] if how == "shift" and t > 0 else current[t]
            v = v + now + p.get("bias", 0)
            fire = (v > p["theta"]) if how == "strict" else (v >= p["theta"])
            s = fire.astype(np.int64)
            if "theta_neg" in p:
                s -= (v < p["theta_neg"]) & (count > 0)
            v, count = v - p["theta"] * s, count + s
            spikes.append(s)
            potentials.append(v)
        return np.array(spikes), np.array(potentials)

    return scan


def engine(art, monkeypatch, how, layer):
    """Register the engine `broken`: the reference with one fault in one layer."""

    def run(graph, feeds, steps=None, trace=()):
        if how == "flip":
            name = graph[graph[layer].inputs[0]].params["w"]
            w = graph.params[name].array.copy()
            place = FLIPPED if all(i < n for i, n in zip(FLIPPED, w.shape, strict=True)) else None
            if place is not None:
                w[place] ^= 1 << 4
            changed = graph.with_params({name: Param.of(w, graph.params[name].type.dtype)})
            return simulate(changed, feeds, steps, trace)
        op = OPS[graph[layer].op] if layer in graph.by_name else OPS["integrate"]
        names = [n for n in (layer,) if n in graph.by_name]
        theta = graph.array(graph[layer], "theta") if names else None
        with monkeypatch.context() as patch:
            patch.setattr(op, "scan", broken_scan(theta, how, op.scan))
            return simulate(graph, feeds, steps, trace)

    monkeypatch.setitem(
        BACKENDS,
        "broken",
        type("Broken", (Engine,), {"simulate": staticmethod(run), "name": "broken"}),
    )


FLIPPED = (1, 2, 0, 2)


@pytest.mark.parametrize(("how", "layer"), [("strict", "n"), ("strict", "m"), ("shift", "m")])
def test_a_fault_of_a_neuron_is_located_and_named(art, x, monkeypatch, how, layer):
    engine(art, monkeypatch, how, layer)
    found = art.check(x, engines=["reference", "broken"])
    first = found["first_difference"]
    assert first["layer"] == layer
    for entry in found["layers"][: [v["name"] for v in found["layers"]].index(layer)]:
        assert entry["spikes_differing"] == entry["potentials_differing"] == 0
    told = first["explanation"]
    values = first["values"]
    assert told["expected_spike"] == values["reference"]["spike"]
    assert told["expected_potential"] == values["reference"]["potential"]
    assert told["current"] == told["constant"] + sum(v["product"] for v in told["inputs"])
    assert told["potential_charged"] == (
        told["potential_before"] + told["current"] + told.get("bias", 0)
    )
    cause = first["likely_cause"]
    assert set(cause) == {"broken"}
    if how == "strict":
        assert told["potential_charged"] == told["theta"]
        assert "> where >= is right" in cause["broken"]
    else:
        assert "current of the step before" in cause["broken"]


def test_a_flipped_weight_bit_is_located_and_named(art, x, monkeypatch):
    engine(art, monkeypatch, "flip", "m")
    first = art.check(x, engines=["reference", "broken"])["first_difference"]
    assert first["layer"] == "m"
    assert first["neuron"][0] == FLIPPED[0]
    element = [FLIPPED[1], first["neuron"][1] - 1, first["neuron"][2] + 1]
    own = next(v for v in first["explanation"]["inputs"] if v["element"] == element)
    assert own["source"] == "n"
    assert own["weight"] == art.graph.array(art.graph["b"], "w")[FLIPPED]
    assert "bit 4 of the weight from %n" in first["likely_cause"]["broken"]


def test_the_broken_engine_may_come_first(art, x, monkeypatch):
    engine(art, monkeypatch, "strict", "m")
    first = art.check(x, engines=["broken", "reference"])["first_difference"]
    assert set(first["likely_cause"]) == {"broken"}


def test_inputs_are_listed_up_to_a_limit(art, x):
    from spikec.runtime.check import traced_layers
    from spikec.runtime.explain import explain

    graph = art.graph
    feeds = {"x": np.full((1, 1, 4, 4), 3)}
    traces = simulate(graph, feeds, None, traced_layers(graph)).traces
    for layer, neuron, step in (("n", (0, 1, 1), 1), ("m", (2, 0, 3), 4), ("k", (1, 2, 2), 6)):
        told = explain(graph, feeds, traces, layer, neuron, step, 0, limit=4)
        assert len(told["inputs"]) == min(4, told["inputs_nonzero"])
        assert told["expected_potential"] == traces[layer].potentials[(step - 1, 0, *neuron)]
        assert told["expected_spike"] == traces[layer].spikes[(step - 1, 0, *neuron)]
    told = explain(graph, feeds, traces, "o", (2,), 5, 0)
    assert told["expected_potential"] == traces["o"].potentials[4, 0, 2]
    assert "expected_spike" not in told


def test_pooled_layers_are_explained(tiny_artifact, tiny_data):
    from spikec.runtime.check import traced_layers
    from spikec.runtime.coding import encode
    from spikec.runtime.explain import explain

    graph = tiny_artifact.graph
    feeds = encode(graph, {"x": tiny_data[:1]}).feeds
    traces = simulate(graph, feeds, None, traced_layers(graph)).traces
    pool = next(node for node in graph if node.op == "max_pool_count")
    told = explain(graph, feeds, traces, pool.name, (0, 0, 0), 2, 0)
    assert told["inputs_nonzero"] <= 4
    assert all(v["weight"] == 1 for v in told["inputs"])


# --- two artifacts ----------------------------------------------------------------------------


def test_two_artifacts_are_compared(art, x):
    graph = art.graph
    w = graph.params["b.w"].array.copy()
    w[FLIPPED] += 1
    changed = graph.with_params({"b.w": Param.of(w, graph.params["b.w"].type.dtype)})
    other = driver.Artifact(replace(art.stored, graph=changed))
    data = Dataset({"x": x})
    found = differences.check_against(art, other, data, "reference")
    assert not found["equal"]
    assert [p["name"] for p in found["params_differing"]] == ["b.w"]
    assert found["params_differing"][0]["first"] == list(FLIPPED)
    first = found["first_difference"]
    assert first["layer"] == "m"
    ours = {tuple(v["element"]): v["weight"] for v in first["explanation"]["inputs"]}
    theirs = {tuple(v["element"]): v["weight"] for v in first["other_explanation"]["inputs"]}
    assert {k for k in ours if ours[k] != theirs.get(k)} == {
        (FLIPPED[1], first["neuron"][1] - 1, first["neuron"][2] + 1)
    }
    same = differences.check_against(art, art, data, "fast")
    assert same["equal"]
    assert same["params_differing"] == []


def test_artifacts_with_other_layers(art, tiny_artifact, x):
    data = Dataset({"x": x})
    with pytest.raises(spikec.UsageError, match="no layer"):
        differences.check_against(art, tiny_artifact, data, "reference")


# --- shrinking --------------------------------------------------------------------------------


@pytest.mark.parametrize(("how", "layer"), [("strict", "m"), ("flip", "m"), ("shift", "m"),
                                            ("strict", "n"), ("strict", "k")])  # fmt: skip
def test_cases_are_shrunk(art, x, monkeypatch, tmp_path, how, layer):
    engine(art, monkeypatch, how, layer)
    data = Dataset({"x": x})
    found = differences.reduce_case(art, data, ["reference", "broken"], tmp_path / "case")
    assert not found["equal"]
    assert found["first_difference"]["layer"] == layer
    _, graph, feeds = golden.load(tmp_path / "case")
    trace = json.loads((tmp_path / "case" / "trace.json").read_text())
    assert graph.steps <= found["timesteps"] <= 6
    assert len(feeds["x"] if "x" in feeds else next(iter(feeds.values()))) == 1
    assert "d" not in graph.by_name
    if how != "shift" and layer != "n":
        assert graph.steps == 1
        assert len(graph.nodes) <= 6
        assert "a" not in graph.by_name
    if how == "strict":
        assert graph[layer].type.shape[0] == 1 or layer == "k"
    assert trace["first_difference"]["layer"] == layer
    again = differences.verify_traces(tmp_path / "case", "broken")[0]
    assert not again["equal"]
    assert again["first_difference"]["layer"] == layer
    assert differences.verify_traces(tmp_path / "case", "reference")[0]["equal"]
    assert differences.verify_traces(tmp_path / "case", "fast")[0]["equal"]


def test_nothing_to_reduce(art, x, tmp_path):
    data = Dataset({"x": x[:2]})
    found = differences.reduce_case(art, data, ["reference", "fast"], tmp_path / "case")
    assert found["equal"]
    assert not (tmp_path / "case").exists()
    with pytest.raises(spikec.UsageError, match="two engines"):
        differences.reduce_case(art, data, ["fast"], tmp_path / "case")


# --- golden traces ----------------------------------------------------------------------------


@pytest.mark.parametrize("arrays", [False, True])
def test_golden_traces_hold_for_every_engine_and_find_faults(art, x, monkeypatch, tmp_path, arrays):
    data = Dataset({"x": x})
    differences.write_traces(art, data, "fast", tmp_path / "t", arrays)
    for name in ("reference", "fast"):
        assert differences.verify_traces(tmp_path / "t", name)[0]["equal"]
    engine(art, monkeypatch, "strict", "m")
    (case,) = differences.verify_traces(tmp_path, "broken")
    first = case["first_difference"]
    assert (case["equal"], first["layer"]) == (False, "m")
    located = art.check(x, engines=["reference", "broken"])["first_difference"]
    assert first["step"] == located["step"]
    assert (first["neuron"] == located["neuron"]) is arrays


def test_golden_traces_have_the_documented_format(art, x, tmp_path):
    import hashlib

    trace = differences.write_traces(art, Dataset({"x": x}), "reference", tmp_path / "a", True)
    differences.write_traces(art, Dataset({"x": x}), "fast", tmp_path / "b", True)
    names = ("trace.json", "graph.spk", "weights.npz", "input.npz", "arrays.npz")
    for name in names:
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()
    assert set(trace["files"]) == set(names[1:])
    assert (trace["format"], trace["steps"], trace["samples"]) == (1, 6, 12)
    with (
        np.load(tmp_path / "a" / "input.npz") as coded,
        np.load(tmp_path / "a" / "arrays.npz") as a,
    ):
        run = simulate(art.graph, dict(coded), None, ["m", "o"])
        for layer in trace["layers"]:
            for what in ("spikes", "potentials"):
                if layer[what] is None:
                    assert (layer["op"], what) == ("accumulate", "spikes")
                    continue
                array = a[f"{layer['name']}.{what}"]
                assert array.dtype == np.dtype("<i4")
                hashes = [hashlib.sha256(step.tobytes()).hexdigest() for step in array]
                assert hashes == layer[what]
        assert (a["m.spikes"] == run.traces["m"].spikes).all()
        assert (a["o.potentials"] == run.traces["o"].potentials).all()


def test_damaged_traces_are_refused(art, x, tmp_path):
    folder = tmp_path / "t"
    differences.write_traces(art, Dataset({"x": x[:1]}), "fast", folder, False)
    (folder / "input.npz").write_bytes(b"")
    with pytest.raises(spikec.InvalidArtifact, match=r"input\.npz was changed"):
        differences.verify_traces(folder, "fast")
    (folder / "trace.json").write_text("{")
    with pytest.raises(spikec.InvalidArtifact, match=r"trace\.json"):
        differences.verify_traces(folder, "fast")
    with pytest.raises(spikec.UsageError, match="no golden traces"):
        differences.verify_traces(tmp_path / "none", "fast")


# --- the command line -------------------------------------------------------------------------


def test_command_line(art, x, monkeypatch, tmp_path):
    runner = CliRunner()

    def cli(*arguments):
        found = runner.invoke(app, [*map(str, arguments), "--json"])
        assert found.exception is None or isinstance(found.exception, SystemExit), found.exception
        return found.exit_code, json.loads(found.stdout), found.stderr

    art.save(tmp_path / "out")
    np.save(tmp_path / "x.npy", x)
    data = ("--data", tmp_path / "x.npy")
    assert cli("trace", tmp_path / "out", *data, "-o", tmp_path / "t")[0] == 0
    assert cli("trace", "--verify", tmp_path / "t", "--engine", "fast")[:1] == (0,)
    hex_ = cli("trace", tmp_path / "out", *data, "--format", "hex", "-o", tmp_path / "hex")
    assert hex_[1]["samples"] == len(x)
    assert (tmp_path / "hex" / "manifest.json").is_file()
    for wrong in (["--format", "text"], ["--format", "hex", "--arrays"]):
        refused = runner.invoke(app, ["trace", str(tmp_path / "out"), *map(str, data), *wrong,
                                      "-o", str(tmp_path / "no")])  # fmt: skip
        assert isinstance(refused.exception, spikec.UsageError)
    assert cli("check", tmp_path / "out", *data, "--against", tmp_path / "out")[0] == 0
    engine(art, monkeypatch, "strict", "m")
    code, found, _ = cli(
        "trace", tmp_path / "out", "--verify", tmp_path / "t", "--engine", "broken"
    )
    assert (code, found["equal"]) == (1, False)
    args = ("check", tmp_path / "out", *data, "--engines", "reference,broken")
    told = runner.invoke(app, [*map(str, args)]).stdout
    code, found, _ = cli(*args)
    assert code == 1
    assert found["first_difference"]["explanation"]["inputs"]
    assert "Its inputs in this step" in told
    assert "broken: it compares with >" in told
    code, found, _ = cli("reduce", tmp_path / "out", *data, "--engines", "reference,broken",
                            "-o", tmp_path / "case")  # fmt: skip
    assert (code, found["out"]) == (1, str(tmp_path / "case"))
    assert "12 samples to 1" in found["cuts"]
    assert isinstance(runner.invoke(app, ["trace"]).exception, spikec.UsageError)
