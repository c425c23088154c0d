"""Rewrites of stage ann that prepare an imported graph: layouts and smooth functions."""

import numpy as np
import pytest
from onnx import helper

from spikec.compiler.onnx import import_model
from spikec.compiler.passes import PASSES
from spikec.compiler.pipeline import Context, Pipeline, parse_pipeline
from spikec.compiler.rewrites.channels_first import channels_first
from spikec.compiler.rewrites.piecewise import fit_pointwise
from spikec.ir import PassError, verify
from spikec.ir.ops.activations.pointwise import evaluate
from spikec.runtime.interpreter import forward

N = helper.make_node
RNG = np.random.default_rng(5)
LAST = {"x": ["N", 6, 5, 4]}


def weights(*shape):
    return RNG.uniform(-1, 1, shape).astype(np.float32)


def conv(x, y, w="w"):
    """A convolution of a channels-last value."""
    return [N("Transpose", [x], [f"{y}_a"], perm=[0, 3, 1, 2]),
            N("Conv", [f"{y}_a", w], [f"{y}_b"], pads=[1, 1, 1, 1]),
            N("Transpose", [f"{y}_b"], [y], perm=[0, 2, 3, 1])]  # fmt: skip


W = {"w": weights(4, 4, 3, 3)}
LAYOUTS = {
    "bias_and_relu": ([*conv("x", "a"), N("Add", ["a", "b"], ["c"]), N("Relu", ["c"], ["y"])],
                      {"b": weights(4)}),
    "position_constants": ([*conv("x", "a"), N("Mul", ["a", "b"], ["y"])], {"b": weights(6, 1, 4)}),
    "residual": ([*conv("x", "a"), N("Relu", ["a"], ["b"]), *conv("b", "c"),
                  N("Add", ["c", "a"], ["y"])], {}),
    "residual_of_input": ([*conv("x", "a"), N("Add", ["x", "a"], ["y"])], {}),
    "concat_and_slice": ([*conv("x", "a"), N("Concat", ["a", "x"], ["b"], axis=3),
                          N("Slice", ["b", "s", "e", "i"], ["y"])],
                         {"s": np.array([1, 2]), "e": np.array([5, 7]), "i": np.array([1, 3])}),
    "pad_and_gather": ([*conv("x", "a"), N("Pad", ["a", "p"], ["b"]),
                        N("Gather", ["b", "i"], ["y"], axis=2)],
                       {"p": np.array([0, 1, 0, 0, 0, 0, 2, 0]), "i": np.array([4, 0, 0])}),
    "upsample": ([*conv("x", "a"), N("Resize", ["a", "", "f"], ["y"],
                                     coordinate_transformation_mode="asymmetric",
                                     nearest_mode="floor")],
                 {"f": np.array([1, 2, 3, 1], np.float32)}),
    "mean": ([*conv("x", "a"), N("ReduceMean", ["a"], ["b"], axes=[1, 2], keepdims=0),
              N("MatMul", ["b", "v"], ["y"])], {"v": weights(4, 3)}),
    "flatten": ([*conv("x", "a"), N("Flatten", ["a"], ["b"]), N("Relu", ["b"], ["c"]),
                 N("Mul", ["c", "m"], ["d"]), N("MatMul", ["d", "v"], ["y"])],
                {"v": weights(120, 3), "m": weights(120)}),
    "squeeze": ([*conv("x", "a"), N("ReduceSum", ["a", "i"], ["b"], keepdims=1),
                 N("Squeeze", ["b", "i"], ["c"]), N("Relu", ["c"], ["y"])], {"i": np.array([1])}),
    "dense_per_position": ([*conv("x", "a"), N("MatMul", ["a", "v"], ["b"]),
                            N("Relu", ["b"], ["c"]), *conv("c", "y")], {"v": weights(4, 4)}),
    "normalised_input": ([N("Sub", ["x", "m"], ["n"]), *conv("n", "y")], {"m": weights(4)}),
    "normalised_single_channel": (
        [*conv("x", "a"), N("ReduceMean", ["a"], ["b"], axes=[1]),
         N("BatchNormalization", ["b", "g", "g", "g", "g"], ["c"]),
         N("Tile", ["c", "r"], ["d"]), N("Add", ["d", "h"], ["y"])],
        {"g": np.array([0.5], np.float32), "r": np.array([1, 2, 1, 1]), "h": weights(2, 1, 1)}),
    "odd_reshape": ([*conv("x", "a"), N("Reshape", ["a", "s"], ["y"])],
                    {"s": np.array([0, 4, 30])}),
}  # fmt: skip


@pytest.mark.parametrize("case", LAYOUTS)
def test_channels_first_keeps_the_meaning(case, build, same):
    nodes, constants = LAYOUTS[case]
    same(build(nodes, LAST, {**W, **constants}), rewrite=lambda g: verify(channels_first(g)))


@pytest.mark.parametrize("case", ["bias_and_relu", "residual", "mean", "flatten", "upsample",
                                  "dense_per_position", "normalised_input"])  # fmt: skip
def test_transposes_stay_only_at_inputs_and_outputs(case, build):
    nodes, constants = LAYOUTS[case]
    graph = channels_first(import_model(build(nodes, LAST, {**W, **constants})).require())
    by_name = graph.by_name
    for node in graph:
        at_input = by_name[node.inputs[0]].op == "input" if node.inputs else False
        assert node.op != "transpose" or at_input or node.name in graph.outputs


def test_graph_without_transposes_is_unchanged(build):
    graph = import_model(build([N("Relu", ["x"], ["y"])], LAST)).require()
    assert channels_first(graph) is graph


@pytest.mark.parametrize(
    ("fn", "worst"),
    [("sigmoid", 0.01), ("tanh", 0.03), ("elu", 0.02), ("softplus", 0.02), ("silu", 0.02),
     ("gelu", 0.02), ("mish", 0.02), ("hard_swish", 0.03), ("softsign", 0.03)],
)  # fmt: skip
def test_fits(fn, worst):
    fit = fit_pointwise(fn, -5, 5)
    x = np.linspace(-5, 5, 4001)
    error = np.abs(fit(x) - evaluate(fn, 1.0, x))
    assert error.max() < worst
    assert error.max() == pytest.approx(fit.max_error, rel=0.05)
    assert error.mean() == pytest.approx(fit.mean_error, rel=0.05)
    assert len(fit.knots) == 8
    assert list(fit.knots) == sorted(fit.knots)


def test_more_pieces_fit_better():
    errors = [fit_pointwise("gelu", -4, 4, pieces).mean_error for pieces in (2, 4, 8, 16)]
    assert errors == sorted(errors, reverse=True)


def test_impossible_fits():
    with pytest.raises(PassError, match="log is not finite on its observed range -1 to 1"):
        fit_pointwise("log", -1, 1)
    with pytest.raises(PassError, match="0 pieces cannot be fitted"):
        fit_pointwise("tanh", -1, 1, 0)


def linearised(graph, x, options=""):
    context = Context(calib={graph.inputs[0].name: x})
    return Pipeline(parse_pipeline(f"linearise{options}")).run(graph, context)


def test_linearise_reports_its_errors(build):
    nodes = [
        N("MatMul", ["x", "w"], ["a"]),
        N("Sigmoid", ["a"], ["b"]),
        N("Mul", ["a", "b"], ["y"]),
    ]
    graph = import_model(build(nodes, {"x": ["N", 12]}, {"w": weights(12, 6)})).require()
    x = RNG.normal(size=(200, 12)).astype(np.float32)
    found, (record,) = linearised(graph, x)
    assert {node.op for node in found} == {"input", "dense", "affine", "relu", "add"}
    left, right = (forward(g, {"x": x})[g.outputs[0]] for g in (graph, found))
    (figures,) = record.layers.values()
    assert np.abs(left - right).max() <= figures["fit_max_error"] * 1.01
    assert record.notes[0].startswith("%Mul_0: silu as 8 rectifiers on [")


def test_linearise_refuses_stray_rounding(build):
    graph = import_model(build([N("Floor", ["x"], ["y"])], {"x": ["N", 12]})).require()
    with pytest.raises(PassError) as caught:
        linearised(graph, np.zeros((1, 12), np.float32))
    assert caught.value.message == (
        "pass linearise: %Floor_0 rounds (floor) and is part of no uniform quantiser"
    )


@pytest.mark.parametrize("name", ["channels_first", "quantisers", "linearise"])
def test_passes_run_by_name(name, build):
    graph = import_model(build([N("Relu", ["x"], ["y"])], LAST)).require()
    assert name in PASSES
    found, (record,) = Pipeline(parse_pipeline(name)).run(graph, Context())
    assert found == graph
    assert len(record.notes) == 1
