"""Correction of the constant part of what rounding loses."""

import numpy as np
import pytest

from spikec.compiler.pipeline import Context, Pipeline, parse_pipeline
from spikec.compiler.quantisation.correct import _consistent
from spikec.ir import F32, Param, PassError, parse
from spikec.runtime.coding import encode
from spikec.runtime.interpreter import simulate

NET = """
graph @net <stage=ann, steps=0> {
  param @a.w : f32[6,4]
  param @b.w : f32[3,6]
  param @b.b : f32[3] = [0.1, -0.2, 0.3]
  %x : f32[4] = input() from "x"
  %a : f32[6] = dense(%x) <w=@a.w>
  %r : f32[6] = relu(%a)
  %b : f32[3] = dense(%r) <w=@b.w, b=@b.b>
  return %b
}
"""


def compiled(seed, pipeline, steps=8):
    rng = np.random.default_rng(seed)
    arrays = {"a.w": rng.normal(size=(6, 4)), "b.w": rng.normal(size=(3, 6))}
    graph = parse(NET).with_params({k: Param.of(v, F32) for k, v in arrays.items()})
    x = rng.uniform(0, 1, (96, 4)).astype(np.float32)
    context = Context({"x": x}, steps=steps)
    integer, records = Pipeline(parse_pipeline(pipeline)).run(graph, context)
    return context.last["snn"], integer, x, records[-1]


def outputs(graph, x):
    run = simulate(graph, encode(graph, {"x": x}).feeds)
    (name,) = graph.outputs
    scale = graph.array(graph[name], "scale") if graph.stage == "int" else 1.0
    return run.readout[name][-1] * scale


@pytest.mark.parametrize("seed", range(4))
def test_mean_errors_vanish(seed):
    pipeline = "fold,relay,observe,qcfs,quantise{bits=3}"
    real, plain, x, _ = compiled(seed, pipeline)
    _, better, _, record = compiled(seed, f"{pipeline},correct{{samples=96}}")
    want = outputs(real, x)
    before, after = (outputs(graph, x) - want for graph in (plain, better))
    unit = float(better.array(better[better.outputs[0]], "scale").max())
    # What is left is rounding of the bias, half a unit in each of 8 steps, or not certain.
    uncertain = 1.6 * after.std(axis=0) / np.sqrt(len(x))
    assert (np.abs(after.mean(axis=0)) <= np.maximum(8 * unit / 2, uncertain) + 1e-6).all()
    assert np.abs(after.mean(axis=0)).max() < np.abs(before.mean(axis=0)).max()
    assert set(record.layers) == {"r", "b.out"}
    assert all(figures["corrected"] >= 0 for figures in record.layers.values())


def test_what_few_samples_lack_is_no_offset():
    lack = np.zeros((64, 3))
    lack[5, 0], lack[:, 1], lack[::2, 2] = 1.0, 0.5, 0.25
    assert _consistent(lack).tolist() == [0.0, 0.5, 0.125]
    assert _consistent(lack[5:6]).tolist() == [1.0, 0.5, 0.0]


def test_only_biases_change():
    pipeline = "fold,relay,observe,qcfs,quantise{bits=3}"
    _, plain, *_ = compiled(0, pipeline)
    _, better, *_ = compiled(0, f"{pipeline},correct")
    assert [node.name for node in plain] == [node.name for node in better]
    changed = {
        name for name, param in plain.params.items()
        if not np.array_equal(param.array, better.params[name].array)
    }  # fmt: skip
    assert changed
    assert {name.rpartition(".")[2] for name in changed} == {"bias"}


def test_without_data_nothing_is_corrected():
    _, graph, *_ = compiled(0, "fold,relay,observe,qcfs,quantise")
    (correct,) = parse_pipeline("correct")
    same, (record,) = Pipeline([correct]).run(graph, Context(None))
    assert same.params == graph.params
    assert record.notes == ["no calibration data: nothing to correct by"]


def test_the_float_network_is_needed():
    _, graph, x, _ = compiled(0, "fold,relay,observe,qcfs,quantise")
    (correct,) = parse_pipeline("correct")
    with pytest.raises(PassError, match="needs the float network"):
        Pipeline([correct]).run(graph, Context({"x": x}))
