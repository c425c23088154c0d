"""Every operator that is imported equals onnxruntime."""

import numpy as np
import pytest
from onnx import helper

from spikec.compiler.onnx import import_model, load_model

RNG = np.random.default_rng(7)
IMAGE = {"x": ["N", 4, 6, 5]}
VECTOR = {"x": ["N", 12]}
N = helper.make_node


def weights(*shape):
    return RNG.uniform(-1, 1, shape).astype(np.float32)


def ints(*values):
    return np.array(values, np.int64)


def floats(*values):
    return np.array(values, np.float32)


def one(op, inputs=("x",), domain=None, **attrs):
    return [N(op, list(inputs), ["y"], domain=domain, **attrs)]


def resized(**attrs):
    return one("Resize", ["x", "", "s"], **attrs)


CASES = {
    "conv_1d": (one("Conv", "xw", dilations=[2]), {"x": [2, 3, 9]}, {"w": weights(5, 3, 3)}),
    "conv_groups": (one("Conv", "xwb", group=2, strides=[2, 1], pads=[1, 0, 2, 1]), IMAGE,
                    {"w": weights(6, 2, 3, 2), "b": weights(6)}),
    "conv_same_upper": (one("Conv", "xw", auto_pad="SAME_UPPER", strides=[2, 2]), IMAGE,
                        {"w": weights(3, 4, 4, 4)}),
    "conv_same_lower": (one("Conv", "xw", auto_pad="SAME_LOWER"), IMAGE,
                        {"w": weights(3, 4, 2, 2)}),
    "conv_depthwise": (one("Conv", "xw", group=4), IMAGE, {"w": weights(8, 1, 3, 3)}),
    "conv_transpose": (one("ConvTranspose", "xwb", strides=[2, 3], pads=[1, 0, 0, 2],
                           output_padding=[1, 1], group=2), IMAGE,
                       {"w": weights(4, 3, 3, 2), "b": weights(6)}),
    "conv_transpose_shape": (one("ConvTranspose", "xw", strides=[2, 2], output_shape=[12, 11]),
                             IMAGE, {"w": weights(4, 2, 3, 3)}),
    "conv_transpose_same": (one("ConvTranspose", "xw", strides=[2, 2], auto_pad="SAME_UPPER"),
                            IMAGE, {"w": weights(4, 2, 3, 3)}),
    "conv_transpose_1d": (one("ConvTranspose", "xw", dilations=[2]), {"x": [1, 3, 5]},
                          {"w": weights(3, 2, 3)}),
    "gemm": (one("Gemm", "xwb", transB=1, alpha=0.5, beta=2.0), VECTOR,
             {"w": weights(7, 12), "b": weights(7)}),
    "gemm_scalar_bias": (one("Gemm", "xwb"), VECTOR, {"w": weights(12, 7), "b": weights(1)}),
    "gemm_trans_a": ([N("Transpose", ["x"], ["t"]), N("Gemm", ["t", "w"], ["y"], transA=1)],
                     VECTOR, {"w": weights(12, 7)}),
    "matmul": (one("MatMul", "xw"), VECTOR, {"w": weights(12, 5)}),
    "matmul_3d": (one("MatMul", "xw"), {"x": ["N", 3, 6]}, {"w": weights(6, 5)}),
    "matmul_4d": (one("MatMul", "xw"), IMAGE, {"w": weights(5, 2)}),
    "matmul_left": (one("MatMul", "wx"), {"x": ["N", 3, 6]}, {"w": weights(4, 3)}),
    "matmul_vector": (one("MatMul", "xw"), VECTOR, {"w": weights(12)}),
    "add_self": (one("Add", "xx"), VECTOR, {}),
    "sub_constant": (one("Sub", "wx"), IMAGE, {"w": weights(4, 1, 1)}),
    "mul_broadcast": (one("Mul", "xw"), IMAGE, {"w": weights(1, 1, 1, 5)}),
    "mul_widens": (one("Mul", "xw"), {"x": ["N", 4, 1, 1]}, {"w": weights(4, 3, 2)}),
    "div_constant": (one("Div", "xw"), IMAGE, {"w": weights(4, 1, 1) + 2}),
    "sum": (one("Sum", "xwx"), IMAGE, {"w": weights(5)}),
    "mean": (one("Mean", "xwx"), IMAGE, {"w": weights(5)}),
    "neg": (one("Neg"), VECTOR, {}),
    "where": (one("Where", "cxw"), VECTOR, {"c": np.arange(12) % 3 == 0, "w": weights(12)}),
    "relu": (one("Relu"), VECTOR, {}),
    "clip": (one("Clip", ["x", "lo", "hi"]), VECTOR, {"lo": floats(-0.5)[0], "hi": floats(0.4)[0]}),
    "clip_low": (one("Clip", ["x", "lo"]), VECTOR, {"lo": floats(-0.5)[0]}),
    "clip_high": (one("Clip", ["x", "", "hi"]), VECTOR, {"hi": floats(0.5)[0]}),
    "max_min": ([N("Max", ["x", "lo"], ["t"]), N("Min", ["hi", "t"], ["y"])], VECTOR,
                {"lo": floats(0), "hi": floats(0.6)}),
    "max_channel": (one("Max", "xw"), IMAGE, {"w": weights(4, 1, 1)}),
    "min_channel": (one("Min", "xw"), IMAGE, {"w": weights(4, 1, 1)}),
    "max_leaky": ([N("Mul", ["x", "a"], ["t"]), N("Max", ["x", "t"], ["y"])], VECTOR,
                  {"a": floats(0.1)}),
    "min_values": ([N("Mul", ["x", "a"], ["t"]), N("Min", ["x", "t"], ["y"])], VECTOR,
                   {"a": floats(0.1)}),
    "abs": (one("Abs"), VECTOR, {}),
    "leaky_relu": (one("LeakyRelu", alpha=0.2), VECTOR, {}),
    "prelu": (one("PRelu", "xw"), IMAGE, {"w": weights(4, 1, 1)}),
    "hard_sigmoid": (one("HardSigmoid", alpha=0.7, beta=0.4), VECTOR, {}),
    "soft_shrink": (one("Shrink", bias=0.3, lambd=0.3), VECTOR, {}),
    "thresholded_relu": (one("ThresholdedRelu", alpha=0.3), VECTOR, {}),
    "elu": (one("Elu", alpha=0.7), VECTOR, {}),
    "selu": (one("Selu"), VECTOR, {}),
    "celu": (one("Celu", alpha=0.5), VECTOR, {}),
    "softsign": (one("Softsign"), VECTOR, {}),
    "batch_norm": (one("BatchNormalization", "xgbmv", epsilon=1e-3), IMAGE,
                   {"g": weights(4), "b": weights(4), "m": weights(4), "v": weights(4) + 2}),
    "average_pool": (one("AveragePool", kernel_shape=[2, 3], strides=[2, 2], pads=[1, 1, 0, 1]),
                     IMAGE, {}),
    "average_pool_include": (one("AveragePool", kernel_shape=[3, 3], pads=[1, 1, 1, 1],
                                 count_include_pad=1, strides=[2, 2]), IMAGE, {}),
    "average_pool_ceil": (one("AveragePool", kernel_shape=[3, 2], strides=[2, 2], ceil_mode=1),
                          IMAGE, {}),
    "average_pool_1d": (one("AveragePool", kernel_shape=[3]), {"x": ["N", 2, 9]}, {}),
    "global_average_pool": (one("GlobalAveragePool"), IMAGE, {}),
    "max_pool": (one("MaxPool", kernel_shape=[3, 2], strides=[2, 1], pads=[1, 0, 1, 1]), IMAGE, {}),
    "max_pool_ceil": (one("MaxPool", kernel_shape=[2, 2], strides=[2, 2], ceil_mode=1), IMAGE, {}),
    "max_pool_dilated": (one("MaxPool", kernel_shape=[2, 2], dilations=[2, 2]), IMAGE, {}),
    "global_max_pool": (one("GlobalMaxPool"), IMAGE, {}),
    "reduce_mean": (one("ReduceMean", axes=[2, 3]), IMAGE, {}),
    "reduce_mean_dropped": (one("ReduceMean", axes=[-1, -2], keepdims=0), IMAGE, {}),
    "reduce_sum_channels": (one("ReduceSum", ["x", "a"]), IMAGE, {"a": ints(1)}),
    "reduce_max": (one("ReduceMax", axes=[1, 3], keepdims=0), IMAGE, {}),
    "reduce_min": (one("ReduceMin", axes=[2]), IMAGE, {}),
    "flatten": (one("Flatten"), IMAGE, {}),
    "reshape": (one("Reshape", ["x", "s"]), IMAGE, {"s": ints(0, -1, 10)}),
    "transpose": (one("Transpose", perm=[0, 2, 3, 1]), IMAGE, {}),
    "squeeze": (one("Squeeze", ["x", "a"]), {"x": ["N", 4, 1, 1]}, {"a": ints(2, -1)}),
    "unsqueeze": (one("Unsqueeze", ["x", "a"]), VECTOR, {"a": ints(1, -1)}),
    "unsqueeze_batch": ([N("Unsqueeze", ["x", "a"], ["t"]), N("Squeeze", ["t", "a"], ["y"])],
                        VECTOR, {"a": ints(0)}),
    "concat": ([N("Relu", ["x"], ["t"]), N("Concat", ["x", "t", "x"], ["y"], axis=2)], IMAGE, {}),
    "concat_constant": (one("Concat", "xwx", axis=1), {"x": [1, 4, 3]}, {"w": weights(1, 2, 3)}),
    "split": ([N("Split", ["x", "s"], ["a", "b"], axis=1), N("Concat", ["b", "a"], ["y"], axis=1)],
              VECTOR, {"s": ints(5, 7)}),
    "slice": (one("Slice", ["x", "s", "e", "a", "t"]), IMAGE,
              {"s": ints(1, -1), "e": ints(99, -4), "a": ints(1, 3), "t": ints(2, -2)}),
    "slice_batch": (one("Slice", ["x", "s", "e"]), IMAGE,
                    {"s": ints(0, 1), "e": ints(2**62, 3)}),
    "gather": (one("Gather", ["x", "i"], axis=1), VECTOR, {"i": ints(3, 3, -1, 0)}),
    "gather_scalar": (one("Gather", ["x", "i"], axis=2), IMAGE, {"i": np.array(2)}),
    "pad": (one("Pad", ["x", "p", "v"]), IMAGE, {"p": ints(0, 1, 0, 2, 0, 0, 3, 1),
                                                 "v": floats(0.5)[0]}),
    "pad_crop": (one("Pad", ["x", "p"]), IMAGE, {"p": ints(0, 0, -1, 0, 0, 0, 0, -2)}),
    "pad_edge": (one("Pad", ["x", "p"], mode="edge"), IMAGE, {"p": ints(0, 0, 2, 0, 0, 0, 1, 3)}),
    "pad_reflect": (one("Pad", ["x", "p"], mode="reflect"), IMAGE,
                    {"p": ints(0, 0, 2, 0, 0, 0, 1, 3)}),
    "expand": (one("Expand", ["x", "s"]), {"x": ["N", 4, 1, 1]}, {"s": ints(3, 2)}),
    "tile": (one("Tile", ["x", "r"]), IMAGE, {"r": ints(1, 1, 2, 3)}),
    "depth_to_space": (one("DepthToSpace", blocksize=2), IMAGE, {}),
    "depth_to_space_crd": (one("DepthToSpace", blocksize=2, mode="CRD"), IMAGE, {}),
    "space_to_depth": (one("SpaceToDepth", blocksize=2), {"x": ["N", 2, 4, 6]}, {}),
    "resize": (one("Resize", ["x", "", "s"], nearest_mode="floor",
                   coordinate_transformation_mode="asymmetric"), IMAGE, {"s": floats(1, 1, 2, 3)}),
    "resize_sizes": (one("Resize", ["x", "", "", "s"]), {"x": [1, 4, 6, 5]},
                     {"s": ints(1, 4, 9, 3)}),
    "matmul_stack": (one("MatMul", "xw"), {"x": ["N", 4, 3, 6]}, {"w": weights(4, 6, 5)}),
    "matmul_stack_vector": (one("MatMul", "xw"), {"x": ["N", 4, 1, 6]}, {"w": weights(1, 4, 6, 5)}),
    "einsum": (one("Einsum", "xw", equation="bij,jk->bik"), {"x": ["N", 3, 6]},
               {"w": weights(6, 5)}),
    "einsum_left": (one("Einsum", "wx", equation="hjk,bijh->kbih"),
                    {"x": [1, 3, 6, 2]}, {"w": weights(2, 6, 4)}),
    "einsum_dense": (one("Einsum", "xw", equation="bi,oi->bo"), VECTOR, {"w": weights(5, 12)}),
    "reduce_l1": (one("ReduceL1", axes=[1]), IMAGE, {}),
    "reduce_l2": (one("ReduceL2", axes=[2, 3], keepdims=0), IMAGE, {}),
    "reduce_sum_square": (one("ReduceSumSquare", axes=[1]), VECTOR, {}),
    "reduce_log_sum_exp": (one("ReduceLogSumExp", axes=[1]), VECTOR, {}),
    "gather_elements": (one("GatherElements", ["x", "i"], axis=2), {"x": [1, 2, 5]},
                        {"i": np.array([[[4, 0, 0], [1, -1, 2]]])}),
    "gather_nd": (one("GatherND", ["x", "i"]), {"x": [1, 2, 5]},
                  {"i": np.array([[[0, 1]], [[0, 0]]])}),
    "resize_linear": (resized(mode="linear"), IMAGE, {"s": floats(1, 1, 2, 3)}),
    "resize_linear_half": (resized(mode="linear"), {"x": ["N", 4, 6, 8]},
                           {"s": floats(1, 1, 0.5, 0.5)}),
    "resize_linear_asymmetric": (
        resized(mode="linear", coordinate_transformation_mode="asymmetric"), IMAGE,
        {"s": floats(1, 1, 2, 2)}),
    "resize_linear_corners": (one("Resize", ["x", "", "", "s"], mode="linear",
                                  coordinate_transformation_mode="align_corners"),
                              {"x": [1, 4, 6, 5]}, {"s": ints(1, 4, 12, 9)}),
    "resize_linear_1d": (resized(mode="linear"), {"x": ["N", 3, 7]}, {"s": floats(1, 1, 4)}),
    "resize_channels": (resized(mode="linear"), {"x": ["N", 6, 2, 3]}, {"s": floats(1, 2, 1, 1)}),
    "resize_vector": (resized(mode="linear"), VECTOR, {"s": floats(1, 2)}),
    "resize_uneven": (one("Resize", ["x", "", "", "s"], mode="linear"), {"x": [1, 4, 6, 5]},
                      {"s": ints(1, 4, 31, 7)}),
    "resize_cubic": (resized(mode="cubic"), IMAGE, {"s": floats(1, 1, 2, 1.5)}),
    "resize_cubic_outside": (resized(mode="cubic", exclude_outside=1, cubic_coeff_a=-0.5), IMAGE,
                             {"s": floats(1, 1, 2, 2)}),
    "dropout": (one("Dropout"), VECTOR, {}),
    "identity": (one("Identity"), VECTOR, {}),
    "cast": ([N("Cast", ["x"], ["t"], to=11), N("Cast", ["t"], ["y"], to=1)], VECTOR, {}),
    "erf": (one("Erf"), VECTOR, {}),
    "reciprocal": ([N("Exp", ["x"], ["t"]), N("Reciprocal", ["t"], ["y"])], VECTOR, {}),
    "pow": (one("Pow", "xw"), VECTOR, {"w": floats(3)[0]}),
    "fused_conv": (one("FusedConv", "xwb", domain="com.microsoft", activation="Relu",
                       pads=[1, 1, 1, 1]), IMAGE, {"w": weights(3, 4, 3, 3), "b": weights(3)}),
    "fused_conv_clip": (one("FusedConv", "xw", domain="com.microsoft", activation="Clip",
                            activation_params=[-0.5, 0.75]), IMAGE, {"w": weights(3, 4, 2, 2)}),
    "fused_conv_sum": ([N("Conv", ["x", "w", "b"], ["a"]),
                        N("FusedConv", ["x", "w", "b", "a"], ["y"], domain="com.microsoft",
                          activation="LeakyRelu", activation_params=[0.1])], IMAGE,
                       {"w": weights(3, 4, 2, 2), "b": weights(3)}),
    "fused_matmul": (one("FusedMatMul", "xw", domain="com.microsoft", transB=1, alpha=0.5), VECTOR,
                     {"w": weights(5, 12)}),
    "fused_gemm": (one("FusedGemm", "xwb", domain="com.microsoft", transB=1, activation="Tanh"),
                   VECTOR, {"w": weights(5, 12), "b": weights(5)}),
    "microsoft_gelu": (one("Gelu", domain="com.microsoft"), VECTOR, {}),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_equals_onnxruntime(case, build, same):
    nodes, inputs, constants = CASES[case]
    same(build(nodes, inputs, constants, domains=["com.microsoft"]))


@pytest.mark.parametrize("case", ["resize_linear", "resize_linear_half", "resize_linear_1d"])
def test_even_interpolation_is_made_of_sums_of_elements(case, build, same):
    nodes, inputs, constants = CASES[case]
    graph = same(build(nodes, inputs, constants))
    assert {node.op for node in graph} <= {"input", "gather", "sum_pool", "affine"}


def test_other_interpolation_is_a_synapse(build, same):
    nodes, inputs, constants = CASES["resize_uneven"]
    assert "conv" in {node.op for node in same(build(nodes, inputs, constants))}


def test_antialiased_resizing(build, same):
    nodes = resized(mode="linear", antialias=1)
    same(build(nodes, {"x": ["N", 4, 9, 8]}, {"s": floats(1, 1, 0.4, 0.5)}, opset=18))


@pytest.mark.parametrize("op", ["Sigmoid", "Tanh", "Softplus", "Mish", "HardSwish", "Erf", "Sin"])
def test_functions(op, build, same):
    graph = same(build(one(op), VECTOR, opset=18), -6, 6)
    assert [node.op for node in graph] == ["input", "pointwise"]


@pytest.mark.parametrize("opset", [7, 8, 9, 10, 11, 12, 13, 15, 18, 20, 21])
def test_opsets(opset, build, same):
    old = opset < 11
    clip = N("Clip", ["a"], ["b"], min=0.0, max=0.5) if old else N("Clip", ["a", "l", "h"], ["b"])
    nodes = [
        N("Conv", ["x", "w"], ["a"]),
        clip,
        N("AveragePool", ["b"], ["c"], kernel_shape=[2, 2]),
        N("Flatten", ["c"], ["d"]),
        N("Gemm", ["d", "v", "u"], ["y"]),
    ]  # fmt: skip
    constants = {"w": weights(2, 4, 3, 3), "v": weights(12, 3), "u": weights(3)}
    bounds = {"l": floats(0)[0], "h": floats(0.5)[0]} if opset >= 11 else {}
    same(build(nodes, IMAGE, {**constants, **bounds}, opset=opset))


def test_relu6_spelled_as_max_and_min_is_one_clip(build, same):
    nodes = [N("Min", ["x", "six"], ["t"]), N("Max", ["t", "zero"], ["y"])]
    graph = same(build(nodes, VECTOR, {"six": floats(6), "zero": floats(0)}), -9, 9)
    assert [(node.op, node.operation.attributes()) for node in graph][1:] == [("clip", {"hi": 6.0})]


@pytest.mark.parametrize(("op", "slope"), [("Max", 0.2), ("Min", 0.2), ("Max", -0.5)])
def test_the_larger_of_a_value_and_its_multiple_is_one_rectifier(op, slope, build, same):
    nodes = [N("Mul", ["x", "a"], ["t"]), N(op, ["t", "x"], ["y"])]
    graph = same(build(nodes, VECTOR, {"a": floats(slope)}))
    relu = next(node for node in graph if node.op == "relu")
    assert relu.inputs == ("x",)


def test_a_spelled_norm_of_an_embedding_is_cut_off(build):
    nodes = [
        N("MatMul", ["x", "w"], ["a"]), N("ReduceL2", ["a"], ["b"], axes=[1]),
        N("Clip", ["b", "e"], ["c"]), N("Expand", ["c", "s"], ["d"]), N("Div", ["a", "d"], ["y"]),
    ]  # fmt: skip
    constants = {"w": weights(12, 4), "e": floats(1e-12)[0], "s": ints(1, 4)}
    imported = import_model(load_model(build(nodes, VECTOR, constants))[0])
    assert imported.logits == ["a"]
    assert [node.op for node in imported.require()] == ["input", "dense"]


def test_the_norm_of_an_embedding_is_cut_off(build):
    nodes = [N("MatMul", ["x", "w"], ["a"]), N("LpNormalization", ["a"], ["y"], axis=1)]
    imported = import_model(load_model(build(nodes, VECTOR, {"w": weights(12, 4)}))[0])
    assert imported.logits == ["a"]
    assert imported.notes == [
        "LpNormalization 'LpNormalization_0' at the end is left out: outputs are its input"
    ]


POOL = N("MaxPool", ["x"], ["t"], kernel_shape=[2, 2])


@pytest.mark.parametrize(
    ("nodes", "ops"),
    [
        ([POOL, N("Relu", ["t"], ["y"])], ["relu", "max_pool"]),
        ([N("Relu", ["x"], ["r"]),
          N("MaxPool", ["r"], ["t"], kernel_shape=[2, 2], pads=[1, 1, 1, 1]),
          N("Relu", ["t"], ["u"]), N("Relu", ["u"], ["y"])], ["relu", "max_pool"]),
        ([POOL, N("GlobalMaxPool", ["t"], ["u"]), N("Clip", ["u", "lo", "hi"], ["y"])],
         ["clip", "max_pool", "max_pool"]),
    ],
    ids=["relu", "twice", "clip"],
)  # fmt: skip
def test_bounds_come_before_maxima(nodes, ops, build, same):
    constants = {"lo": floats(0)[0], "hi": floats(0.5)[0]}
    used = {name for node in nodes for name in node.input}
    graph = same(build(nodes, IMAGE, {n: a for n, a in constants.items() if n in used}))
    assert [node.op for node in graph][1:] == ops


def test_maxima_come_before_joins(build, same):
    nodes = [
        N("Relu", ["x"], ["a"]), N("Conv", ["a", "w"], ["b"]), N("Relu", ["b"], ["c"]),
        N("Concat", ["a", "c"], ["d"], axis=1),
        N("MaxPool", ["d"], ["y"], kernel_shape=[3, 2], strides=[2, 1], pads=[1, 0, 1, 1]),
    ]  # fmt: skip
    graph = same(build(nodes, IMAGE, {"w": weights(3, 4, 1, 1)}))
    pools = [node for node in graph if node.op == "max_pool"]
    assert [graph[pool.inputs[0]].op for pool in pools] == ["relu", "relu"]
    assert graph.nodes[-1].op == "concat"


def test_maxima_of_one_axis_stay_on_one_axis(build, same):
    nodes = [
        N("Relu", ["x"], ["a"]), N("Unsqueeze", ["a", "i"], ["b"]),
        N("MaxPool", ["b"], ["c"], kernel_shape=[1, 3], strides=[1, 2], pads=[0, 1, 0, 0]),
        N("Squeeze", ["c", "i"], ["y"]),
    ]  # fmt: skip
    graph = same(build(nodes, {"x": ["N", 4, 9]}, {"i": ints(2)}))
    assert [node.op for node in graph] == ["input", "relu", "max_pool"]


SPELLED = {
    "silu": ([N("Sigmoid", ["x"], ["s"]), N("Mul", ["s", "x"], ["y"])], {}, ("silu", 1.0)),
    "quick_gelu": ([N("Mul", ["x", "a"], ["t"]), N("Sigmoid", ["t"], ["s"]),
                    N("Mul", ["x", "s"], ["y"])], {"a": floats(1.702)}, ("silu", 1.702)),
    "mish": ([N("Softplus", ["x"], ["s"]), N("Tanh", ["s"], ["t"]), N("Mul", ["x", "t"], ["y"])],
             {}, ("mish", 1.0)),
    "gelu": ([N("Div", ["x", "r"], ["a"]), N("Erf", ["a"], ["b"]), N("Add", ["b", "one"], ["c"]),
              N("Mul", ["x", "c"], ["d"]), N("Mul", ["d", "half"], ["y"])],
             {"r": floats(2**0.5), "one": floats(1), "half": floats(0.5)}, ("gelu", 1.0)),
    "gelu_half_first": ([N("Mul", ["half", "x"], ["h"]), N("Mul", ["x", "r"], ["a"]),
                         N("Erf", ["a"], ["b"]), N("Add", ["one", "b"], ["c"]),
                         N("Mul", ["c", "h"], ["y"])],
                        {"r": floats(0.5**0.5), "one": floats(1), "half": floats(0.5)},
                        ("gelu", 1.0)),
    "gelu_tanh": ([N("Mul", ["x", "x"], ["x2"]), N("Mul", ["x", "x2"], ["x3"]),
                   N("Mul", ["x3", "k"], ["a"]), N("Add", ["x", "a"], ["b"]),
                   N("Mul", ["b", "r"], ["c"]), N("Tanh", ["c"], ["t"]),
                   N("Add", ["t", "one"], ["d"]), N("Mul", ["half", "x"], ["h"]),
                   N("Mul", ["h", "d"], ["y"])],
                  {"k": floats(0.044715), "r": floats((2 / np.pi) ** 0.5), "one": floats(1),
                   "half": floats(0.5)}, ("gelu_tanh", 1.0)),
    "hard_swish": ([N("Add", ["x", "three"], ["a"]), N("Clip", ["a", "zero", "six"], ["b"]),
                    N("Mul", ["x", "b"], ["c"]), N("Div", ["c", "six"], ["y"])],
                   {"three": floats(3), "zero": floats(0)[0], "six": floats(6)[0]},
                   ("hard_swish", 1.0)),
    "sigmoid": ([N("Neg", ["x"], ["a"]), N("Exp", ["a"], ["b"]), N("Add", ["b", "one"], ["c"]),
                 N("Div", ["one", "c"], ["y"])], {"one": floats(1)}, ("sigmoid", 1.0)),
    "softplus": ([N("Exp", ["x"], ["b"]), N("Add", ["b", "one"], ["c"]), N("Log", ["c"], ["y"])],
                 {"one": floats(1)}, ("softplus", 1.0)),
}  # fmt: skip


@pytest.mark.parametrize("case", SPELLED)
def test_functions_spelled_out(case, build, same):
    nodes, constants, expected = SPELLED[case]
    graph = same(build(nodes, VECTOR, constants), -5, 5)
    found = [node for node in graph if node.op == "pointwise"]
    assert [(node.operation.fn, node.operation.alpha) for node in found] == [expected]


def test_several_inputs_and_outputs(build, same):
    nodes = [N("Relu", ["x"], ["a"]), N("Add", ["a", "z"], ["y"]), N("Neg", ["z"], ["v"])]
    graph = same(build(nodes, {"x": ["N", 4], "z": ["N", 4]}, outputs=("y", "v")))
    assert len(graph.inputs) == len(graph.outputs) == 2


def test_constant_outputs_are_left_out(build):
    nodes = [N("Relu", ["x"], ["y"]), N("Shape", ["x"], ["s"]), N("Gather", ["s", "i"], ["v"])]
    model = build(nodes, VECTOR, {"i": ints(1)}, outputs=("y", "v"))
    imported = import_model(load_model(model)[0])
    assert imported.logits == ["y"]
    assert imported.notes == ["output 'v' is left out: it is constant"]


def test_random_outputs_are_left_out(build):
    nodes = [
        N("Tanh", ["x"], ["y"]),
        N("RandomNormalLike", ["x"], ["r"]),
        N("Add", ["y", "r"], ["v"]),
    ]
    model = build(nodes, VECTOR, outputs=("v", "y"))
    imported = import_model(load_model(model)[0])
    assert imported.logits == ["y"]
    assert imported.notes == ["output 'v' is left out: it is random"]
    (refusal,) = import_model(model, output="v").refusals
    assert (refusal.op, refusal.reason) == ("RandomNormalLike", "it is random")


def test_squeeze_without_axes_keeps_a_batch_of_any_size(build, same):
    graph = same(build([N("Squeeze", ["x"], ["y"])], {"x": ["N", 4, 1, 1]}))
    assert graph.nodes[-1].type.shape == (4,)


def test_gemm_adds_a_value(build, same):
    nodes = [N("Relu", ["x"], ["a"]), N("Gemm", ["x", "w", "a"], ["y"], beta=0.5)]
    same(build(nodes, VECTOR, {"w": weights(12, 12)}))


def test_if_with_known_condition(build, same):
    def branch(op):
        info = helper.make_tensor_value_info(f"{op}_y", 1, None)
        return helper.make_graph([N(op, ["x"], [f"{op}_y"])], op, [], [info])

    nodes = [N("If", ["c"], ["y"], then_branch=branch("Relu"), else_branch=branch("Neg"))]
    graph = same(build(nodes, VECTOR, {"c": np.array(False)}))
    assert [node.op for node in graph] == ["input", "affine"]


@pytest.mark.parametrize("dtype", [10, 11])
def test_half_and_double(dtype, build, same):
    kind = helper.tensor_dtype_to_np_dtype(dtype)
    nodes = [N("MatMul", ["x", "w"], ["a"]), N("Relu", ["a"], ["y"])]
    constants = {"w": weights(12, 5).astype(kind)}
    same(build(nodes, VECTOR, constants, dtype=dtype), tolerance=3e-3)


def test_integer_input_is_cast(build, same):
    nodes = [N("Cast", ["x"], ["a"], to=1), N("Mul", ["a", "s"], ["y"])]
    same(build(nodes, VECTOR, {"s": floats(1 / 255)}, dtype=2), 0, 255)
