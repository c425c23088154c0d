"""Where the batch axis stands: moved and moved back, or dissolved in models of a batch of one."""

import numpy as np
import pytest
from onnx import helper

from spikec.compiler.onnx import import_model, load_model
from spikec.driver.model import Model
from spikec.ir import UnsupportedOperator
from spikec.runtime.interpreter import forward

N = helper.make_node
RNG = np.random.default_rng(11)
ROWS = {"x": ["N", 3, 6]}
ONE_IMAGE = {"x": [1, 8, 4, 4]}
ONE_VECTOR = {"x": [1, 12]}


def weights(*shape):
    return RNG.uniform(-1, 1, shape).astype(np.float32)


def ints(*values):
    return np.array(values, np.int64)


TO_FRONT, BACK = N("Transpose", ["x"], ["t"], perm=[1, 0, 2]), {"perm": [1, 0, 2]}

MOVED = {
    "add_constant": ([TO_FRONT, N("Add", ["t", "w"], ["u"]), N("Transpose", ["u"], ["y"], **BACK)],
                     ROWS, {"w": weights(3, 1, 6)}),
    "add_value": ([TO_FRONT, N("Relu", ["t"], ["r"]), N("Add", ["t", "r"], ["u"]),
                   N("Transpose", ["u"], ["y"], **BACK)], ROWS, {}),
    "matmul": ([TO_FRONT, N("MatMul", ["t", "w"], ["u"]), N("Transpose", ["u"], ["y"], **BACK)],
               ROWS, {"w": weights(6, 5)}),
    "concat": ([TO_FRONT, N("Concat", ["t", "t"], ["u"], axis=0),
                N("Transpose", ["u"], ["y"], **BACK)], ROWS, {}),
    "concat_constant": ([TO_FRONT, N("Concat", ["t", "w"], ["u"], axis=0),
                         N("Transpose", ["u"], ["y"], **BACK)], {"x": [1, 3, 6]},
                        {"w": weights(2, 1, 6)}),
    "split": ([TO_FRONT, N("Split", ["t", "s"], ["a", "b"], axis=0),
               N("Concat", ["b", "a"], ["u"], axis=-3), N("Transpose", ["u"], ["y"], **BACK)],
              ROWS, {"s": ints(1, 2)}),
    "gather": ([TO_FRONT, N("Gather", ["t", "i"], ["y"], axis=0)], ROWS, {"i": np.array(1)}),
    "slice": ([TO_FRONT, N("Slice", ["t", "s", "e", "a"], ["u"]),
               N("Transpose", ["u"], ["y"], **BACK)], ROWS,
              {"s": ints(1, 2), "e": ints(3, 5), "a": ints(0, 2)}),
    "reduce": ([TO_FRONT, N("ReduceMean", ["t"], ["y"], axes=[0], keepdims=0)], ROWS, {}),
    "quantize_per_axis": ([TO_FRONT, N("QuantizeLinear", ["t", "s", "z"], ["q"], axis=0),
                           N("DequantizeLinear", ["q", "s", "z"], ["u"], axis=0),
                           N("Transpose", ["u"], ["y"], **BACK)], ROWS,
                          {"s": np.float32([0.1, 0.02, 0.3]), "z": np.zeros(3, np.int8)}),
    "batch_norm_of_channels_last": (
        [N("Transpose", ["x"], ["t"], perm=[2, 1, 0]),
         N("BatchNormalization", ["t", "g", "b", "m", "v"], ["u"]),
         N("Transpose", ["u"], ["y"], perm=[2, 1, 0])],
        ROWS, {"g": weights(3), "b": weights(3), "m": weights(3), "v": weights(3) + 2}),
}  # fmt: skip

SINGLE = {
    "channel_shuffle": (
        [N("Reshape", ["x", "s"], ["a"]), N("Transpose", ["a"], ["b"], perm=[1, 0, 2]),
         N("Reshape", ["b", "r"], ["c"]), N("Gather", ["c", "i"], ["d"], axis=0),
         N("Gather", ["c", "j"], ["e"], axis=0), N("Unsqueeze", ["d", "f"], ["g"]),
         N("Unsqueeze", ["e", "f"], ["h"]), N("Concat", ["h", "g"], ["y"], axis=1)],
        ONE_IMAGE, {"s": ints(4, 2, 16), "r": ints(2, 4, 4, 4), "i": np.array(0), "j": np.array(1),
                    "f": ints(0)}),
    "joined_along_the_batch": (
        [N("Neg", ["x"], ["n"]), N("Concat", ["x", "n"], ["a"], axis=0), N("Relu", ["a"], ["b"]),
         N("Gemm", ["b", "w", "c"], ["d"]), N("Split", ["d", "s"], ["e", "f"], axis=0),
         N("Sub", ["e", "f"], ["y"])],
        ONE_VECTOR, {"w": weights(12, 3), "c": weights(3), "s": ints(1, 1)}),
    "rows_of_a_reshape": (
        [N("Reshape", ["x", "s"], ["a"]), N("MatMul", ["a", "w"], ["b"]),
         N("BatchNormalization", ["b", "g", "h", "m", "v"], ["c"]), N("Relu", ["c"], ["d"]),
         N("Reshape", ["d", "r"], ["y"])],
        ONE_VECTOR, {"s": ints(-1, 3), "w": weights(3, 5), "g": weights(5), "h": weights(5),
                     "m": weights(5), "v": weights(5) + 2, "r": ints(1, -1)}),
    "flatten_axis_0": ([N("Flatten", ["x"], ["y"], axis=0)], ONE_IMAGE, {}),
    "flatten_axis_2": ([N("Flatten", ["x"], ["y"], axis=2)], ONE_IMAGE, {}),
    "squeeze_all": ([N("Squeeze", ["x"], ["a"]), N("Mul", ["a", "a"], ["b"]),
                     N("Unsqueeze", ["b", "f"], ["y"])], ONE_VECTOR, {"f": ints(0)}),
    "gather_the_sample": ([N("Gather", ["x", "i"], ["a"], axis=0), N("Add", ["a", "w"], ["y"])],
                          ONE_IMAGE, {"i": np.array(0), "w": weights(8, 1, 1)}),
    "reduce_all": ([N("ReduceMean", ["x"], ["y"], keepdims=0)], ONE_IMAGE, {}),
    "reduce_the_batch": ([N("ReduceSum", ["x", "a"], ["t"], keepdims=0), N("Relu", ["t"], ["y"])],
                         ONE_IMAGE, {"a": ints(0)}),
    "values_of_other_rank": ([N("Relu", ["x"], ["a"]), N("Reshape", ["x", "s"], ["b"]),
                              N("Add", ["b", "a"], ["y"])], {"x": [1, 6]}, {"s": ints(1, 6, 1)}),
    "values_in_other_layouts": ([N("Transpose", ["x"], ["t"], perm=[1, 0]),
                                 N("Add", ["x", "t"], ["y"])], {"x": [1, 6]}, {}),
    "batch_axis_last": ([N("Transpose", ["x"], ["t"], perm=[1, 0]), N("MatMul", ["w", "t"], ["y"])],
                        {"x": [1, 6]}, {"w": weights(4, 6)}),
    "output_in_another_layout": ([N("Transpose", ["x"], ["y"], perm=[1, 0, 2])], {"x": [1, 3, 6]},
                                 {}),
}  # fmt: skip

NUMBERS = {
    "gather": ([N("Gather", ["x", "i"], ["y"], axis=1)], {"x": ["N", 4]}, {"i": np.array(1)}),
    "reduce": ([N("ReduceMax", ["x"], ["a"], axes=[1], keepdims=0), N("Mul", ["a", "w"], ["b"]),
                N("Relu", ["b"], ["y"])], {"x": ["N", 4]}, {"w": np.float32(-2)}),
    "vector_product": ([N("MatMul", ["x", "w"], ["a"]), N("Sub", ["one", "a"], ["y"])],
                       {"x": ["N", 4]}, {"w": weights(4), "one": np.float32(1)}),
    "input": ([N("Unsqueeze", ["x", "a"], ["b"]), N("Gemm", ["b", "w"], ["y"])], {"x": ["N"]},
              {"a": ints(1), "w": weights(1, 3)}),
    "sum_of_numbers": ([N("Squeeze", ["x", "a"], ["b"]), N("Abs", ["b"], ["c"]),
                        N("Add", ["b", "c"], ["y"])], {"x": ["N", 1]}, {"a": ints(1)}),
}  # fmt: skip


@pytest.mark.parametrize("case", MOVED)
def test_a_moved_batch_axis(case, build, same):
    same(build(*MOVED[case]))


@pytest.mark.parametrize("case", SINGLE)
def test_a_batch_of_one_is_an_axis_like_any_other(case, build, same):
    same(build(*SINGLE[case]))


@pytest.mark.parametrize("case", NUMBERS)
def test_a_number_per_sample_has_an_axis(case, build, same):
    graph = same(build(*NUMBERS[case]))
    assert all(node.type.shape for node in graph if node.op != "input")


def test_only_a_batch_of_one_may_be_dissolved(build):
    nodes, _, constants = SINGLE["channel_shuffle"]
    model = build(nodes, {"x": ["N", 8, 4, 4]}, constants)
    with pytest.raises(UnsupportedOperator) as caught:
        import_model(load_model(model)[0]).require()
    assert "mixes samples of a batch" in caught.value.message
    assert caught.value.hint == "export with a batch of 1, or say so with `--shape INPUT=1,...`"


@pytest.mark.parametrize("op", ["Gemm", "Add"])
def test_numbers_per_sample_do_not_broadcast_over_features(op, build):
    nodes = [N("Gemm", ["x", "w", "c"], ["y"]) if op == "Gemm" else N("Add", ["x", "c"], ["y"])]
    constants = {"w": weights(4, 4)} if op == "Gemm" else {}
    model = build(nodes, {"x": ["N", 4], "c": ["N"]}, constants)
    with pytest.raises(UnsupportedOperator, match="values of different rank or layout meet"):
        import_model(load_model(model)[0]).require()


def test_onnxruntime_runs_such_models_sample_by_sample(build):
    nodes = [N("Transpose", ["x"], ["t"], perm=[1, 0, 2]), N("Relu", ["t"], ["y"])]
    ann = Model.load(build(nodes, {"x": [1, 3, 6]}))
    x = RNG.uniform(-1, 1, (4, 3, 6)).astype(np.float32)
    np.testing.assert_array_equal(ann.logits({"x": x}), np.maximum(x, 0).reshape(4, -1))


WITHOUT_BATCH = {
    "vector": ([N("MatMul", ["x", "w"], ["a"]), N("Add", ["a", "b"], ["c"]),
                N("Relu", ["c"], ["y"])],
               {"x": [12]}, {"w": weights(12, 5), "b": weights(5)}),
    "image": ([N("Unsqueeze", ["x", "a"], ["b"]), N("Conv", ["b", "w"], ["c"]),
               N("Relu", ["c"], ["d"]), N("Squeeze", ["d", "a"], ["e"]),
               N("ReduceMean", ["e"], ["y"], axes=[1, 2], keepdims=0)],
              {"x": [3, 6, 6]}, {"a": ints(0), "w": weights(4, 3, 3, 3)}),
    "two_inputs": ([N("MatMul", ["x", "w"], ["a"]), N("Concat", ["a", "z"], ["y"], axis=0)],
                   {"x": [12], "z": [3]}, {"w": weights(12, 5)}),
    "repeated": ([N("Tile", ["x", "r"], ["a"]), N("Expand", ["a", "s"], ["b"]),
                  N("Transpose", ["b"], ["c"], perm=[1, 2, 0]), N("Abs", ["c"], ["y"])],
                 {"x": [3, 2]}, {"r": ints(2, 1), "s": ints(4, 6, 2)}),
}  # fmt: skip


@pytest.mark.parametrize("case", WITHOUT_BATCH)
def test_inputs_without_a_batch_axis(case, build, same):
    model = build(*WITHOUT_BATCH[case])
    same(model)
    imported = import_model(load_model(model)[0])
    assert not imported.has_batch
    assert imported.notes == ["the inputs have no batch axis: each sample is a whole input"]
    for node in imported.require().inputs:
        assert list(node.type.shape) == WITHOUT_BATCH[case][1][node.name]


def test_onnxruntime_is_fed_without_a_batch_axis(build):
    ann = Model.load(build(*WITHOUT_BATCH["image"]))
    x = RNG.uniform(-1, 1, (5, 3, 6, 6)).astype(np.float32)
    want = forward(ann.graph, {"x": x})[ann.graph.outputs[0]]
    np.testing.assert_allclose(ann.logits({"x": x}), want, atol=1e-6)


def test_a_fixed_batch_is_no_axis_of_the_sample(build, same):
    nodes = [N("Conv", ["x", "w"], ["a"]), N("Relu", ["a"], ["y"])]
    graph = same(build(nodes, {"x": [5, 3, 6, 6]}, {"w": weights(4, 3, 3, 3)}))
    assert graph["x"].type.shape == (3, 6, 6)
