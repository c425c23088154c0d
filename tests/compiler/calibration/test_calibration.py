"""Search, bias correction and the sweep that applies them layer by layer."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from spikec.compiler.calibration.bias import Bias
from spikec.compiler.calibration.cone import Held
from spikec.compiler.calibration.layer import Layer, Neurons
from spikec.compiler.calibration.search import draw, search
from spikec.compiler.pipeline import Context, Pipeline, Record, parse_pipeline
from spikec.ir import (
    F32,
    SPIKE,
    Node,
    Param,
    PassError,
    TensorType,
    op_of,
    parse,
    same_values,
    spread,
)
from spikec.ir.neuron import Membrane
from spikec.ir.ops import OPS
from spikec.runtime import fast

UNSIGNED, SIGNED, FREE = (
    OPS["integrate"](),
    *(OPS["integrate_signed"](free) for free in (False, True)),
)
KINDS = [UNSIGNED, SIGNED, FREE]


def make_layer(theta, v0, *, kind=UNSIGNED, steps=8, shape=(2, 3, 3), samples=40,
               seed=0, bias=0.0, constant=False, bounded=False) -> Layer:  # fmt: skip
    """A layer of random currents whose target is what the given neurons would emit."""
    rng = np.random.default_rng(seed)
    rows = 1 if constant else steps
    current = rng.normal(0.4, 0.8, (rows, samples, *shape)).astype(np.float32)
    node = Node("n", OPS["integrate"](), ("c",), TensorType(SPIKE, shape))
    wide = np.zeros(shape[0], np.float32)
    planted = Neurons(kind, wide + theta, wide + np.multiply(v0, theta), wide + np.float32(bias))
    target = np.zeros((samples, *shape), np.float32)
    layer = Layer(
        node=node, neurons=planted, current=Held(current), before=target, target=target,
        steps=steps, bounded=bounded, rng=np.random.default_rng(seed),
    )  # fmt: skip
    mean = current.mean(axis=0)
    return replace(layer, target=layer.rate(), before=mean + spread(planted.bias, shape))


def test_the_planted_layer_has_no_error():
    assert make_layer([0.9, 1.4], [0.3, 0.6]).error() == 0


@pytest.mark.parametrize("kind", KINDS)
def test_the_planted_initial_potential_is_found(kind):
    planted = make_layer([0.9, 1.4], [0.2, 0.7], kind=kind)
    start = planted.with_neurons(v0=planted.neurons.theta / 2)
    assert start.error() > 1e-3
    found = search(start, joint=False, per="channel", samples=10_000)
    assert found.neurons.theta == pytest.approx(planted.neurons.theta)
    assert found.neurons.v0 / found.neurons.theta == pytest.approx([0.2, 0.7], abs=0.026)
    assert found.error() < 0.02 * start.error() + 1e-9


@pytest.mark.parametrize("kind", KINDS)
def test_planted_thresholds_and_potentials_are_found(kind):
    planted = make_layer([0.9, 1.4], [0.2, 0.7], kind=kind)
    start = planted.with_neurons(theta=np.float32([1.3, 1.0]), v0=np.float32([0.65, 0.5]))
    found = search(start, joint=True, per="channel", samples=10_000)
    assert found.neurons.theta == pytest.approx([0.9, 1.4], rel=0.05)
    assert found.error() < 0.1 * start.error()


def test_one_factor_for_the_whole_layer():
    planted = make_layer([0.9, 1.8], [0.4, 0.4])
    start = planted.with_neurons(theta=np.float32([0.6, 1.2]), v0=np.float32([0.3, 0.6]))
    found = search(start, joint=True, per="layer", samples=10_000)
    theta, v0 = found.neurons.theta, found.neurons.v0
    assert theta[1] / theta[0] == pytest.approx(2)
    assert (v0 / theta)[0] == pytest.approx((v0 / theta)[1])
    assert theta == pytest.approx([0.9, 1.8], rel=0.05)


def test_thresholds_of_a_clipped_activation_do_not_rise():
    planted = make_layer([2.0, 2.0], [0.5, 0.5])
    start = planted.with_neurons(theta=np.float32([1.5, 1.5]))
    free = search(start, joint=True, per="channel", samples=10_000)
    held = search(replace(start, bounded=True), joint=True, per="channel", samples=10_000)
    assert (free.neurons.theta > 1.6).all()
    assert (held.neurons.theta <= 1.5).all()


def test_an_initial_potential_for_each_neuron():
    planted = make_layer([1.0, 1.0], [0.5, 0.5], steps=4, samples=1000)
    shape = planted.node.type.shape
    offsets = np.random.default_rng(3).choice(np.float32([-0.3, 0.3]), shape)
    wanted = (0.5 + offsets) * spread(planted.neurons.theta, shape)
    target = planted.with_neurons(v0=wanted.astype(np.float32)).rate()
    layer = replace(planted, target=target)
    shared = search(layer, joint=False, per="channel", samples=10_000)
    found = search(layer, joint=False, per="neuron", samples=10_000)
    assert found.neurons.v0.shape == shape
    assert found.error() < 0.5 * shared.error()
    assert found.neurons.theta == pytest.approx(shared.neurons.theta)


@given(st.integers(0, 10_000), st.booleans(), st.booleans(), st.sampled_from(KINDS))
@settings(max_examples=25)
def test_the_search_minimises_what_it_claims(seed, joint, shared, kind):
    """The kernel's error of the chosen point is that of the layer, and the start is no better."""
    layer = make_layer([0.8, 1.2], [0.5, 0.5], seed=seed, steps=4, samples=30, kind=kind)
    noisy = layer.target + np.random.default_rng(seed).normal(0, 0.2, layer.target.shape)
    layer = replace(layer, target=noisy.astype(np.float32))
    found = search(layer, joint=joint, per="layer" if shared else "channel", samples=10_000)

    def error(each: Layer) -> float:
        return float(((each.rate() - each.target) ** 2).mean())

    # the coarse grid holds v0 = theta / 2 and, up to its spacing, the starting threshold
    if not joint:
        assert error(found) <= error(layer) + 1e-6
    drawn = draw(found, 10_000)
    theta, v0 = found.neurons.theta, found.neurons.v0
    errors = fast.rate_errors(kind, drawn, theta[:, None], (v0 / theta)[:, None], {})
    assert errors.mean() == pytest.approx(error(found), rel=1e-3, abs=1e-6)


def test_a_draw_takes_the_same_places_of_all_channels():
    layer = make_layer([1.0, 1.0], [0.5, 0.5], bias=np.float32([1, 2]))
    whole, some = draw(layer, 10_000), draw(layer, 25)
    assert whole.current.shape == (8, 2, 360)
    assert whole.target.shape == (2, 360)
    assert some.current.shape == (8, 2, 25)
    assert whole.bias[:, 0].tolist() == [1, 2]
    columns = {tuple(c) for c in whole.current[:, 0].T}
    assert {tuple(c) for c in some.current[:, 0].T} <= columns
    assert (whole.target[1] == layer.target[:, 1].reshape(-1)).all()
    assert (whole.current[3, 1] == layer.current.array[3, :, 1].reshape(-1)).all()


class Halves(Held):
    """The same currents in two blocks, as where memory does not hold them at once."""

    def blocks(self):
        half = self.array.shape[1] // 2
        yield slice(0, half), self.array[:, :half]
        yield slice(half, self.array.shape[1]), self.array[:, half:]


@pytest.mark.parametrize("samples", [10_000, 50])
def test_currents_that_come_in_blocks_give_the_same(samples):
    whole = make_layer([1.0, 1.3], [0.5, 0.2])
    split = make_layer([1.0, 1.3], [0.5, 0.2])
    split = replace(split, current=Halves(split.current.array))
    assert (whole.spikes() == split.spikes()).all()
    left, right = draw(whole, samples), draw(split, samples)
    assert (left.current == right.current).all()
    assert (left.target == right.target).all()


def test_bias_correction_equalises_mean_currents():
    layer = make_layer([1.0, 1.0], [0.5, 0.5])
    layer = replace(layer, before=layer.before + np.float32([0.25, -0.5])[:, None, None])
    fixed = Bias().fit(layer, Record("bias", {}))
    assert fixed.neurons.bias == pytest.approx([0.25, -0.5], abs=1e-5)
    axes = (0, 2, 3)
    lack = (fixed.before - fixed.mean_current()).mean(axis=axes)
    assert lack == pytest.approx([0, 0], abs=1e-5)
    again = Bias().fit(fixed, Record("bias", {}))
    assert again.neurons.bias == pytest.approx(fixed.neurons.bias, abs=1e-5)


def test_bias_correction_keeps_differences_within_a_channel():
    layer = make_layer([1.0, 1.0], [0.5, 0.5])
    full = np.random.default_rng(0).normal(size=(2, 3, 3)).astype(np.float32)
    layer = layer.with_neurons(bias=full)
    fixed = Bias().fit(layer, Record("bias", {}))
    moved = fixed.neurons.bias - full
    assert np.ptp(moved.reshape(2, -1), axis=1) == pytest.approx([0, 0], abs=1e-5)
    assert (fixed.before - fixed.mean_current()).mean(axis=(0, 2, 3)) == pytest.approx(
        [0, 0], abs=1e-5
    )


NET = """
graph @net <stage=ann, steps=0> {
  param @a.w : f32[8,6]
  param @a.b : f32[8]
  param @b.w : f32[8,8]
  param @c.w : f32[3,8]
  %x : f32[6] = input() from "x"
  %a : f32[8] = dense(%x) <w=@a.w, b=@a.b>
  %r : f32[8] = relu(%a) from "relu_a"
  %b : f32[8] = dense(%r) <w=@b.w>
  %j : f32[8] = add(%b, %r)
  %s : f32[8] = relu(%j) from "relu_b"
  %c : f32[3] = dense(%s) <w=@c.w>
  return %c
}
"""


def net(seed=0):
    rng = np.random.default_rng(seed)
    graph = parse(NET)
    params = {
        name: Param.of(rng.normal(0, 0.5, p.type.shape), F32) for name, p in graph.params.items()
    }
    return graph.with_params(params)


def data(seed=0, samples=64):
    return {"x": np.random.default_rng(seed).random((samples, 6), np.float32)}


def compiled(pipeline, *, seed=0, steps=4, graph=None):
    passes = parse_pipeline(f"fold,relay,observe,{pipeline}")
    return Pipeline(passes).run(graph or net(), Context(data(), steps=steps, seed=seed))


def test_one_seed_one_result():
    text = "qcfs,bias,dni{samples=20},snm{samples=20},quantise"
    first, _ = compiled(text, seed=3)
    second, _ = compiled(text, seed=3)
    assert same_values(first, second)
    others = [compiled(text, seed=s)[0] for s in (4, 5, 6)]
    assert not all(same_values(first, other) for other in others)


@pytest.mark.parametrize("steps", [1, 2, 8])
def test_calibration_lowers_the_error_of_every_layer(steps):
    _, records = compiled("qcfs,bias,dni,snm", steps=steps)
    for record in records[-2:]:
        for name in ("r", "s"):
            figures = record.layers[name]
            assert figures["error_after"] <= figures["error_before"] * 1.02 + 1e-9


def test_later_layers_are_fitted_to_what_earlier_ones_really_emit():
    """With a ruined first layer the second is fitted to ruined input, not to the ANN's."""
    snn, _ = compiled("qcfs")
    context = Context(data(), steps=4)
    context.last["ann"] = net()
    layers = [node.name for node in snn if isinstance(node.operation, Membrane)]
    with pytest.raises(PassError, match="nothing says what %r stands for in the ANN"):
        Pipeline(parse_pipeline("dni")).run(snn, context)
    context.counterparts = {name: name.removesuffix(".out") for name in layers}
    fine, _ = Pipeline(parse_pipeline("dni")).run(snn, context)
    ruined = snn.with_params({"r.theta": Param.of(snn.params["r.theta"].array * 100, F32)})
    spoilt, _ = Pipeline(parse_pipeline("bias")).run(ruined, context)
    assert not np.allclose(spoilt.params["s.bias"].array, fine.params["s.bias"].array, rtol=0.05)


def test_calibration_without_the_ann_is_refused():
    snn, _ = compiled("qcfs")
    with pytest.raises(PassError, match="needs the ANN"):
        Pipeline(parse_pipeline("dni")).run(snn, Context(data(), steps=4))


@pytest.mark.parametrize("gate", ["auto", "on"])
def test_snm_replaces_neurons(gate):
    snn, records = compiled(f"qcfs,snm{{gate={gate}}}")
    taken = {name: figures["signed"] for name, figures in records[-1].layers.items()
             if "signed" in figures}  # fmt: skip
    assert set(taken) == {"r", "s"}
    for name, signed in taken.items():
        assert snn[name].op == ("integrate_signed" if signed else "integrate")
        if gate == "on":
            assert signed
        if signed:
            assert snn[name].operation.free is False
            assert not snn.array(snn[name], "theta_neg").any()
    if gate == "auto":
        for figures in records[-1].layers.values():
            if "signed" in figures:
                better = figures["held_out_after"] < figures["held_out_before"]
                assert figures["signed"] == better


def test_per_layer_thresholds_are_one_value():
    snn, _ = compiled("qcfs{per=layer},dni{per=layer},snm{per=layer gate=on}")
    for node in snn:
        if op_of(node).neuron:
            assert len(set(snn.array(node, "theta").tolist())) == 1


def test_a_graph_that_ends_in_an_activation():
    graph = parse("""
graph @net <stage=ann, steps=0> {
  param @d.w : f32[2,6] = [[1, 1, 1, 1, 1, 1], [1, -1, 1, -1, 1, -1]]
  %x : f32[6] = input() from "x"
  %d : f32[2] = dense(%x) <w=@d.w>
  %r : f32[2] = relu(%d) from "relu"
  return %r
}""")
    found, _ = compiled("qcfs,bias,dni,snm,quantise", graph=graph)
    assert found.stage == "int"
