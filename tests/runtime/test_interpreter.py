import numpy as np
import pytest

import spikec
from spikec.ir import InvalidData, InvalidGraph, RangeError, parse
from spikec.runtime.interpreter import check_feeds, forward, last_use, simulate, synapse_inputs

ANN = """
graph @net <stage=ann, steps=0> {
  param @c.w : f32[2,1,2,2] = [[[[1, 0], [0, 1]]], [[[0.5, 0.5], [0.5, 0.5]]]]
  param @c.b : f32[2] = [0, -1]
  param @d.w : f32[1,8] = [[1, 1, 1, 1, -1, -1, -1, -1]]
  %x : f32[1,3,3] = input() from "image"
  %c : f32[2,2,2] = conv(%x) <w=@c.w, b=@c.b, strides=[1, 1], pads=[0, 0, 0, 0],
                              dilations=[1, 1], groups=1>
  %r : f32[2,2,2] = relu(%c)
  %f : f32[8] = reshape(%r) <shape=[8]>
  %d : f32[1] = dense(%f) <w=@d.w>
  return %d
}
"""


def test_forward_runs_the_ann_by_hand():
    x = np.arange(9, dtype=np.float32).reshape(1, 1, 3, 3)
    found = forward(parse(ANN), {"x": x}, keep=["c"])
    first = [0 + 4, 1 + 5, 3 + 7, 4 + 8]
    second = [0.5 * v - 1 for v in (0 + 1 + 3 + 4, 1 + 2 + 4 + 5, 3 + 4 + 6 + 7, 4 + 5 + 7 + 8)]
    assert set(found) == {"c", "d"}
    assert found["c"].reshape(-1).tolist() == first + second
    assert found["d"].tolist() == [[sum(first) - sum(second)]]


def test_uint8_inputs_are_real_values():
    x = np.full((2, 1, 3, 3), 200, np.uint8)
    assert forward(parse(ANN), {"x": x})["d"].dtype == np.float32


@pytest.mark.parametrize(
    ("feeds", "message"),
    [
        ({}, "no data for input 'image'"),
        (
            {"x": np.zeros((2, 1, 4, 4))},
            "input 'image' has shape [1, 4, 4] per sample, the model expects [1, 3, 3]",
        ),
        ({"x": np.zeros((0, 1, 3, 3))}, "all inputs need the same number of samples"),
    ],
)
def test_feeds_that_do_not_fit(feeds, message):
    with pytest.raises(InvalidData) as caught:
        check_feeds(parse(ANN), feeds)
    assert message in str(caught.value)


def test_a_spiking_run_by_hand(graph_text):
    graph = parse(graph_text)
    x = np.zeros((1, 1, 3, 3), np.uint8)
    x[0, 0, 0, 0] = 7
    run = simulate(graph, {"x": x}, trace=["n", "o"])
    # channel 0 gets 7 (w 1), channel 1 gets 35 (w 5) at neuron (0, 0); theta 10, 20; v0 5
    spikes = run.traces["n"].spikes
    assert spikes.dtype == np.int8
    assert spikes[:, 0, 0, 0, 0].tolist() == [1, 0, 1, 1]
    assert run.traces["n"].potentials[:, 0, 0, 0, 0].tolist() == [2, 9, 6, 3]
    assert spikes[:, 0, 1, 0, 0].tolist() == [1, 1, 1, 1]
    assert run.traces["n"].potentials[:, 0, 1, 0, 0].tolist() == [20, 35, 50, 65]
    assert spikes.sum() == 3 + 4
    # d = [1 s0 - 1 s1, 0], bias [1, -1]
    assert run.readout["o"][:, 0].tolist() == [[1, -1], [1, -2], [2, -3], [3, -4]]
    assert run.traces["o"].spikes is None
    assert (
        run.traces["o"].potentials is run.readout["o"]
        or (run.traces["o"].potentials == run.readout["o"]).all()
    )
    assert set(run.events) == {"x", "n", "f"}
    assert run.events["n"].sum() == 7
    assert run.events["x"].sum() == 4


def test_fewer_or_more_steps_read_the_same_run(graph_text):
    graph = parse(graph_text)
    x = np.random.default_rng(0).integers(0, 9, (3, 1, 3, 3))
    long = simulate(graph, {"x": x}, 9).readout["o"]
    short = simulate(graph, {"x": x}, 2).readout["o"]
    assert len(long) == 9
    assert (long[:2] == short).all()
    assert (simulate(graph, {"x": x}).readout["o"] == long[:4]).all()


def test_samples_do_not_meet(graph_text):
    graph = parse(graph_text)
    x = np.random.default_rng(0).integers(0, 200, (4, 1, 3, 3))
    whole = simulate(graph, {"x": x}, 4).readout["o"]
    for i in range(4):
        assert (simulate(graph, {"x": x[i : i + 1]}, 4).readout["o"][:, 0] == whole[:, i]).all()


def test_an_overflowing_potential_names_layer_neuron_and_step(graph_text):
    graph = parse(graph_text.replace("i24", "i9"))
    x = np.zeros((2, 1, 3, 3), np.uint8)
    x[1, 0, 2, 2] = 20
    # neuron (1, 1, 1) gets 8 * 20 = 160 a step with theta 20: 165, 305
    with pytest.raises(RangeError) as caught:
        simulate(graph, {"x": x})
    assert str(caught.value) == (
        "Relu_1: %n reaches 305 at neuron [1, 1, 1], step 2, sample 1; i9 holds -256 to 255\n"
        "  hint: compile with fewer --weight-bits or a target with wider state"
    )


def test_an_overflowing_current_is_found(graph_text):
    graph = parse(graph_text.replace("%c : i24", "%c : i8"))
    x = np.full((1, 1, 3, 3), 255, np.uint8)
    with pytest.raises(RangeError, match=r"%c reaches .* at neuron \[0, 0, 0\], step 1, sample 0"):
        simulate(graph, {"x": x})


def test_an_overflowing_readout_is_found(graph_text):
    graph = parse(graph_text.replace("%o : i24", "%o : i3"))
    x = np.zeros((1, 1, 3, 3), np.uint8)
    with pytest.raises(RangeError, match=r"%o reaches 4 at neuron \[0\], step 4, sample 0"):
        simulate(graph, {"x": x}, 9)


@pytest.mark.parametrize("engine", ["reference", "fast"])
def test_codes_are_integers_whatever_holds_them(graph_text, engine):
    graph, run = parse(graph_text), spikec.backends.engine(engine)
    x = np.random.default_rng(0).integers(0, 99, (3, 1, 3, 3))
    want = run(graph, {"x": x}).readout["o"]
    for kind in (np.uint8, np.float32, np.float64, np.uint64):
        assert (run(graph, {"x": x.astype(kind)}).readout["o"] == want).all()
    for wrong in (x + 0.5, np.where(x == x.max(), np.nan, x), x.astype(complex), x * 1e300):
        with pytest.raises(InvalidData, match="input 'image' holds numbers that are no codes"):
            run(graph, {"x": wrong})
    with pytest.raises(RangeError, match="%x reaches 18446744073709551615 at neuron"):
        run(graph, {"x": np.full((1, 1, 3, 3), (1 << 64) - 1, np.uint64)})


@pytest.mark.parametrize("engine", ["reference", "fast", "onnx"])
def test_a_param_without_values_is_named(graph_text, engine):
    text = graph_text.replace("param @n.v0 : i24[] = 5", "param @n.v0 : i24[]")
    with pytest.raises(InvalidGraph, match="Relu_1: param 'v0' of %n has no values"):
        spikec.backends.engine(engine)(parse(text), {"x": np.zeros((1, 1, 3, 3), np.uint8)})


SUMS = """
graph @wide <stage=int, steps=3> {{
  param @w : i64[] = {w}
  param @th : i64[] = {th}
  %x : i64[1] = input()
  %a : i64[1] = {op}(%x){more}
  %n : spike[1] = integrate(%a) <theta=@th, v0=@w>
  %o : i64[1] = accumulate(%a)
  return %o
}}
"""


@pytest.mark.parametrize("engine", ["reference", "fast"])
def test_sums_beyond_64_bits_are_exact(engine):
    top, run = (1 << 63) - 1, spikec.backends.engine(engine)

    def error(x, **fields):
        with pytest.raises(RangeError) as caught:
            run(parse(SUMS.format(**fields)), {"x": np.array([[x]])})
        return str(caught.value)

    affine = {"op": "affine", "more": " <w=@w>", "th": 1}
    assert f"%a reaches {top * 3}" in error(top, w=3, **affine)
    assert f"%a reaches {top * -top} at neuron [0], step 1" in error(top, w=-top, **affine)
    add = {"op": "add", "more": "", "th": top}
    assert f"%n reaches {top * 2} at neuron [0], step 1" in error(top, w=top, **add)
    assert f"%o reaches {1 << 63} at neuron [0], step 2" in error(1 << 62, w=-top, **add)


def test_helpers(graph_text):
    graph = parse(graph_text)
    assert synapse_inputs(graph) == {"x", "n", "f"}
    assert last_use(graph)["c"] == ["x"]
    assert last_use(graph)["o"] == ["d", "o"]
