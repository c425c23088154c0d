"""The pass graded: calibrated multi-threshold neurons, alone and in whole networks."""

import json
from dataclasses import replace

import numpy as np
import pytest

import spikec
from spikec import driver
from spikec.backends.lava import unavailable as lava_unavailable
from spikec.cli import main
from spikec.compiler.calibration.cone import Held
from spikec.compiler.calibration.graded import Graded
from spikec.compiler.calibration.layer import Layer, Neurons
from spikec.compiler.calibration.search import search
from spikec.compiler.pipeline import Record
from spikec.ir import SPIKE, Node, ParseError, PassError, TensorType, parse, spread
from spikec.ir.ops import OPS
from spikec.ir.types import spikes
from spikec.runtime import fast
from spikec.runtime.data import make_dataset
from spikec.runtime.fast.scans import errors_of_rule
from spikec.runtime.interpreter import simulate

MODEL = "fashion_resnet8.onnx"


def make_layer(neurons: Neurons, *, steps=4, seed=0, samples=60, low=0.0) -> Layer:
    """A layer of random currents whose target is their mean, rectified (at `low`)."""
    rng = np.random.default_rng(seed)
    mean = rng.exponential(1.0, (1, samples, 2, 3, 3)) - 0.6
    current = (mean + rng.normal(0, 0.2, (steps, *mean.shape[1:]))).astype(np.float32)
    node = Node("n", OPS["integrate"](), ("c",), TensorType(SPIKE, (2, 3, 3)))
    before = current.mean(axis=0)
    return Layer(
        node=node, neurons=neurons, current=Held(current), before=before,
        target=np.maximum(before, low).astype(np.float32), steps=steps, bounded=False,
        rng=np.random.default_rng(seed),
    )  # fmt: skip


UNSIGNED, FREE = OPS["integrate"](), OPS["integrate_signed"](free=True)


def unit(theta=2.0, kind=UNSIGNED) -> Neurons:
    wide = np.full(2, theta, np.float32)
    return Neurons(kind, wide, wide / 2, np.zeros(2, np.float32))


def graded(levels, fire, free=False) -> Neurons:
    wide = np.float32([0.3, 0.5])
    op = OPS["integrate_graded"](free, levels)
    return replace(unit(kind=op), theta=wide, v0=wide / 4, more={"fire": np.float32(fire)})


@pytest.mark.parametrize("steps", [1, 2, 4])
@pytest.mark.parametrize("kind", [UNSIGNED, FREE])
def test_payloads_lower_the_error(steps, kind):
    layer = make_layer(unit(kind=kind), steps=steps, low=-9 if kind is FREE else 0)
    binary = search(layer, joint=True, per="channel", samples=10_000)
    errors = [binary.error()]
    for levels in (2, 4):
        record = Record("graded", {})
        found = Graded(levels=levels).fit(layer, record)
        assert found.neurons.op == OPS["integrate_graded"](kind is FREE, levels)
        assert record.layers["n"]["graded"]
        errors.append(found.error())
    assert errors[0] > errors[1] > errors[2]


def test_the_search_kernel_is_the_neuron():
    """The error that the search reports is that of the layer's own spikes."""
    for free in (False, True):
        neurons = graded(3, [0.5, 0.75], free)
        layer = make_layer(neurons, low=-9 if free else 0)
        rows = np.moveaxis(layer.current.array, 2, 1).reshape(4, 2, -1)
        target = np.moveaxis(layer.target, 1, 0).reshape(2, -1)
        drawn = fast.Drawn(rows, target, np.zeros_like(target), 4)
        start = neurons.theta[:, None], np.full((2, 1), 0.25, np.float32)
        off = (layer.rate() - layer.target) ** 2
        for errors in (fast.rate_errors, errors_of_rule):
            found = errors(neurons.op, drawn, *start, neurons.more)
            assert found[:, 0, 0] == pytest.approx(off.mean(axis=(0, 2, 3)), rel=1e-4)


def test_a_planted_firing_level_is_found():
    planted = graded(4, [0.625, 0.875])
    layer = make_layer(planted)
    layer = replace(layer, target=layer.rate())
    found = search(layer, joint=False, per="channel", samples=10_000, fires=(0.625, 0.75, 0.875))
    assert found.neurons.more["fire"] == pytest.approx([0.625, 0.875])
    assert found.neurons.v0 == pytest.approx(planted.v0, abs=0.03)


def test_gate():
    """Where unit events are perfect already, auto keeps them and on does not."""
    layer = make_layer(unit())
    layer = replace(layer, target=layer.rate())
    assert Graded().fit(layer, Record("graded", {})).neurons == layer.neurons
    assert Graded(gate="on").fit(layer, Record("graded", {})).neurons.op.levels == 4


@pytest.mark.parametrize("options", [{"levels": 1}, {"levels": 9}, {"gate": "off"}, {"fire": 0.4},
                                     {"search": "x"}, {"per": "x"}, {"samples": 0}])  # fmt: skip
def test_bad_options(options):
    with pytest.raises((PassError, ParseError)):
        Graded(**options).fit(make_layer(unit()), Record("graded", {}))


def test_the_options_make_the_pipeline():
    def names(**given):
        return [str(part) for p in driver.Options(**given).passes() for part in p.parts]

    graded = names(spikes="graded")
    assert "graded" in graded
    assert not any(name.startswith(("snm", "dni")) for name in graded)
    assert "graded{levels=8}" in names(spikes="graded", payload_bits=3)
    assert "graded{search=none}" in names(spikes="graded", dni="off")
    assert not any(name.startswith("graded") for name in names())
    for wrong in ({"spikes": "x"}, {"payload_bits": 0}, {"payload_bits": 4},
                  {"spikes": "graded", "payload_bits": 4}):  # fmt: skip
        with pytest.raises(spikec.UsageError):
            names(**wrong)


@pytest.fixture(scope="module")
def art(examples, images) -> spikec.Artifact:
    return spikec.compile(
        examples / MODEL, calib=images["x_calib"], timesteps=2, samples=64, spikes="graded"
    )


def test_end_to_end(art, examples, images):
    """At T = 2 graded spikes lose at most a point where unit events lose several."""
    x, y = images["x"][:300], images["y"][:300]
    found = driver.evaluate(
        art, make_dataset(x, art.graph), model=examples / MODEL, timesteps=[1, 2]
    )
    assert found.results[-1].agreement > 0.95
    assert (art.run(x).argmax(axis=1) == y).mean() > 0.9
    graded = [node for node in art.graph if node.op == "integrate_graded"]
    assert graded
    assert {str(node.type.dtype) for node in graded} == {"spike4"}
    for node in graded:
        theta, fire = (art.graph.array(node, role) for role in ("theta", "fire"))
        assert (2 * fire >= theta).all()
    first, last = found.results
    assert 0 < first.payload_bits < last.payload_bits
    assert last.payload_bits <= 3 * last.spikes
    assert last.effective_acs > 0
    assert last.effective_macs > 0


def test_engines_agree(art, images):
    assert art.check(images["x"][:40])["equal"]


@pytest.mark.lava
@pytest.mark.skipif(lava_unavailable() is not None, reason=str(lava_unavailable()))
def test_lava_agrees(art, images):
    found = art.check(images["x"][:2], engines=["reference", "lava"])
    assert found["equal"]
    assert sum(layer["spikes_compared"] for layer in found["layers"]) > 0


def test_the_artifact_comes_back(art, images, tmp_path):
    art.save(tmp_path / "out")
    again = spikec.load(tmp_path / "out")
    assert again.graph == art.graph
    assert (again.run(images["x"][:8]) == art.run(images["x"][:8])).all()


def test_payloads_through_max_pooling(tiny_onnx):
    """Pooling takes the type of what it pools, and sums what its winner sums."""
    x = np.random.default_rng(0).random((64, 2, 6, 6), np.float32)
    art = spikec.compile(tiny_onnx(), calib=x, timesteps=3, spikes="graded", payload_bits=1)
    pools = [node for node in art.graph if node.op == "max_pool_count"]
    assert pools
    assert {node.type.dtype for node in pools} == {spikes(2)}
    assert art.check(x[:20])["equal"]
    assert parse(art.graph.to_text()) == art.graph
    feeds = next(iter(driver.encoded_blocks(art.graph, make_dataset(x[:20], art.graph))))[1]
    simulate(art.graph, feeds)


def test_command_line(examples, tmp_path, capsys):
    data, out = examples / "fashion_mnist_small.npz", tmp_path / "out"
    with np.load(data) as archive:
        np.savez(tmp_path / "calib.npz", x=archive["x_calib"][:16])
        np.savez(tmp_path / "test.npz", x=archive["x"][:8], y=archive["y"][:8])
    command = ["compile", str(examples / MODEL), "--calib", str(tmp_path / "calib.npz"), "-o",
               str(out), "--timesteps", "1", "--spikes", "graded", "--payload-bits", "1",
               "--json"]  # fmt: skip
    with pytest.raises(SystemExit, match="0"):
        main(command)
    passes = [p["name"] for p in json.loads(capsys.readouterr().out)["passes"]]
    assert "graded" in passes
    with pytest.raises(SystemExit, match="0"):
        main(["eval", str(out), "--data", str(tmp_path / "test.npz"), "--json"])
    result = json.loads(capsys.readouterr().out)["results"][0]
    assert result["payload_bits"] == pytest.approx(2 * result["spikes"])


def test_a_bias_per_neuron():
    """A bias per neuron reaches the graded kernels in the right place."""
    layer = make_layer(unit())
    bias = np.random.default_rng(3).normal(0, 0.3, (2, 3, 3)).astype(np.float32)
    moved = replace(
        layer.with_neurons(bias=bias), target=np.maximum(layer.before + spread(bias, (2, 3, 3)), 0)
    )
    assert Graded().fit(moved, Record("graded", {})).error() < 0.02
