"""Quantisers: trained with QCFS, or of onnxruntime and brevitas."""

from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import helper, numpy_helper

from spikec.compiler.onnx import import_model, load_model
from spikec.compiler.rewrites.quantisers import recognise_quantisers
from spikec.ir import UnsupportedOperator, verify
from spikec.runtime.interpreter import forward

DATA = Path(__file__).parent / "data"
MS, GENERAL, LAST = "com.microsoft", "qonnx.custom_op.general", "qonnx.custom_op.channels_last"
N = helper.make_node
VECTOR = {"x": ["N", 12]}
RNG = np.random.default_rng(3)


def weights(*shape):
    return RNG.uniform(-1, 1, shape).astype(np.float32)


def f(*values):
    return np.array(values, np.float32)


def recognised(graph):
    return verify(recognise_quantisers(graph))


@pytest.mark.parametrize("path", sorted(DATA.glob("qcfs_*.onnx")), ids=lambda p: p.stem)
def test_qcfs_as_pytorch_exports_it(path, same):
    graph = same(str(path), rewrite=recognised)
    assert [node.op for node in graph] == [
        "input", "conv", "qcfs", "sum_pool", "affine", "reshape", "dense"
    ]  # fmt: skip
    node = next(node for node in graph if node.op == "qcfs")
    assert (node.operation.levels, node.operation.shift) == (4, 0.5)
    trained = _trained(onnx.load(str(path)))
    np.testing.assert_allclose(graph.array(node, "lambda"), trained, rtol=1e-6)


def _trained(model):
    """The parameter `up`, or its quarter where the exporter folded the division by L."""
    arrays = {t.name: numpy_helper.to_array(t) for t in model.graph.initializer}
    (mul,) = (n for n in model.graph.node if n.op_type == "Mul" and arrays_in(n, arrays))
    factor = arrays_in(mul, arrays)[0].reshape(-1)
    factor = factor * 4 if factor.max() < 0.5 else factor
    return factor.reshape(()) if factor.size == 1 else factor


def arrays_in(node, arrays):
    found = [arrays[name] for name in node.input if name in arrays]
    return [a for a in found if a.size in (1, 4) and a.reshape(-1)[0] not in (4.0, 0.25)]


SPELLINGS = {
    "ceiling_clip_after": [N("Mul", ["x", "l"], ["a"]), N("Floor", ["a"], ["b"]),
                           N("Clip", ["b", "zero", "four"], ["c"]), N("Mul", ["c", "q"], ["y"])],
    "signed": [N("Mul", ["l", "x"], ["a"]), N("Round", ["a"], ["b"]),
               N("Clip", ["b", "low", "four"], ["c"]), N("Mul", ["q", "c"], ["y"])],
    "scaled_after": [N("Add", ["x", "half"], ["a"]), N("Floor", ["a"], ["b"]),
                     N("Clip", ["b", "zero", "four"], ["c"]), N("Mul", ["c", "q"], ["y"])],
}  # fmt: skip
CONSTANTS = {"l": f(4), "q": f(0.25), "zero": f(0)[0], "four": f(4)[0], "low": f(-3)[0],
             "half": f(0.5)}  # fmt: skip


@pytest.mark.parametrize(
    ("case", "op", "attrs"),
    [
        ("ceiling_clip_after", "qcfs", {"levels": 4, "shift": 0.0, "rounding": "floor"}),
        ("signed", "quantize", {"lo": -3, "hi": 4, "rounding": "even"}),
        ("scaled_after", "qcfs", {"levels": 4, "shift": 0.5, "rounding": "floor"}),
    ],
)
def test_other_uniform_quantisers(case, op, attrs, build, same):
    used = {name for node in SPELLINGS[case] for name in node.input}
    constants = {name: array for name, array in CONSTANTS.items() if name in used}
    graph = same(build(SPELLINGS[case], VECTOR, constants), -3, 3, rewrite=recognised)
    node = next(node for node in graph if node.op == op)
    assert node.operation.attributes() == attrs


def test_unbounded_rounding_stays(build, same):
    graph = same(build([N("Floor", ["x"], ["y"])], VECTOR), -3, 3, rewrite=recognised)
    assert graph.nodes[-1].op == "pointwise"


def qdq(x, y, scale="s", zero="z"):
    return [N("QuantizeLinear", [x, scale, zero], [f"{y}_q"]),
            N("DequantizeLinear", [f"{y}_q", scale, zero], [y])]  # fmt: skip


@pytest.mark.parametrize(
    ("zero", "op", "attrs"),
    [
        (np.uint8(0), "qcfs", {"levels": 255, "shift": 0.5, "rounding": "even"}),
        (np.int8(-128), "qcfs", {"levels": 255, "shift": 0.5, "rounding": "even"}),
        (np.uint8(100), "quantize", {"lo": -100, "hi": 155, "rounding": "even"}),
        (np.int8(0), "quantize", {"lo": -128, "hi": 127, "rounding": "even"}),
    ],
)
def test_quantize_dequantize(zero, op, attrs, build, same):
    nodes = [N("MatMul", ["x", "w"], ["a"]), *qdq("a", "b"), N("MatMul", ["b", "v"], ["y"])]
    constants = {"w": weights(12, 5), "s": f(0.01)[0], "z": zero, "v": weights(5, 2)}
    graph = same(build(nodes, VECTOR, constants))
    assert (graph.nodes[-2].op, graph.nodes[-2].operation.attributes()) == (op, attrs)


def test_an_asymmetric_output_is_counted_from_its_lower_bound(build, same):
    nodes = [N("MatMul", ["x", "w"], ["a"]), *qdq("a", "y")]
    constants = {"w": 4 * weights(12, 5), "s": f(0.01)[0], "z": np.uint8(50)}
    graph = same(build(nodes, VECTOR, constants))
    assert [node.op for node in graph] == ["input", "dense", "affine", "qcfs", "affine"]
    assert graph.nodes[3].operation.levels == 255


RECTIFIED = {
    "before": [N("Relu", ["a"], ["r"]), *qdq("r", "b")],
    "before_pooling": [N("Relu", ["a"], ["r"]), N("MaxPool", ["r"], ["m"], kernel_shape=[2]),
                       *qdq("m", "b")],
    "behind": [*qdq("a", "q"), N("Relu", ["q"], ["b"])],
    "on_integers": [N("QuantizeLinear", ["a", "s", "z"], ["i"]), N("Relu", ["i"], ["j"]),
                    N("DequantizeLinear", ["j", "s", "z"], ["b"])],
    "twice": [N("Relu", ["a"], ["r"]), *qdq("r", "p"), N("MaxPool", ["p"], ["m"], kernel_shape=[2]),
              *qdq("m", "b")],
    "clipped": [N("Clip", ["a", "zero", "six"], ["r"]), *qdq("r", "b")],
    "clipped_behind": [*qdq("a", "q"), N("Clip", ["q", "zero", "six"], ["b"])],
}  # fmt: skip


@pytest.mark.parametrize("case", RECTIFIED)
def test_a_rectifier_beside_a_quantiser_is_part_of_it(case, build, same):
    nodes = [N("Conv", ["x", "w"], ["a"]), *RECTIFIED[case], N("Conv", ["b", "v"], ["y"])]
    used = {name for node in nodes for name in node.input}
    constants = {"w": weights(4, 3, 3), "v": weights(2, 4, 2), "s": f(0.01)[0], "z": np.int8(0),
                 "zero": f(0)[0], "six": f(0.6)[0]}  # fmt: skip
    constants = {name: array for name, array in constants.items() if name in used}
    graph = same(build(nodes, {"x": ["N", 3, 12]}, constants))
    pooling = ["max_pool"] if case in ("before_pooling", "twice") else []
    assert [node.op for node in graph] == ["input", "conv", "qcfs", *pooling, "conv"]
    assert graph.nodes[2].operation.levels == (60 if "clipped" in case else 127)


def test_branches_of_one_grid_that_are_joined_need_no_other_quantiser(build, same):
    nodes = [
        N("Conv", ["x", "w"], ["a"]), N("Relu", ["a"], ["b"]), *qdq("b", "c"),
        N("MaxPool", ["x"], ["d"], kernel_shape=[3]), N("Relu", ["d"], ["e"]),
        N("Pad", ["c", "p"], ["f"]), N("Pad", ["e", "p"], ["g"]),
        N("Concat", ["f", "g"], ["h"], axis=1), *qdq("h", "y"),
    ]  # fmt: skip
    constants = {
        "w": weights(4, 3, 3),
        "s": f(0.01)[0],
        "z": np.uint8(0),
        "p": np.int64([0, 0, 1] * 2),
    }
    graph = same(build(nodes, {"x": ["N", 3, 12]}, constants))
    ops = [node.op for node in graph]
    assert (ops.count("qcfs"), ops.count("relu"), ops.count("concat")) == (2, 0, 1)


def test_a_quantiser_for_each_reader_is_one(build, same):
    nodes = [
        N("MatMul", ["x", "w"], ["a"]),
        *qdq("a", "b"),
        *qdq("a", "c"),
        N("Add", ["b", "c"], ["y"]),
    ]
    graph = same(build(nodes, VECTOR, {"w": weights(12, 5), "s": f(0.01)[0], "z": np.uint8(0)}))
    assert [node.op for node in graph] == ["input", "dense", "qcfs", "affine"]


def test_a_bound_off_the_grid_stays(build, same):
    nodes = [*qdq("x", "q"), N("Clip", ["q", "zero", "top"], ["y"])]
    constants = {"s": f(0.1)[0], "z": np.int8(0), "zero": f(0)[0], "top": f(0.55)[0]}
    graph = same(build(nodes, VECTOR, constants))
    assert [node.op for node in graph] == ["input", "quantize", "clip"]


def test_requantising_on_the_same_grid_is_nothing(build, same):
    nodes = [*qdq("x", "a"), N("MaxPool", ["a"], ["b"], kernel_shape=[2]), *qdq("b", "y")]
    graph = same(build(nodes, {"x": ["N", 3, 8]}, {"s": f(0.01)[0], "z": np.uint8(0)}))
    assert [node.op for node in graph] == ["input", "qcfs", "max_pool"]


def test_weights_are_dequantised_per_channel(build, same):
    nodes = [N("DequantizeLinear", ["w", "s"], ["wr"], axis=0), N("Conv", ["x", "wr"], ["y"])]
    w = RNG.integers(-127, 127, (5, 3, 2, 2)).astype(np.int8)
    same(build(nodes, {"x": ["N", 3, 6, 6]}, {"w": w, "s": np.abs(weights(5)) / 100}))


def test_qlinear_conv(build, same):
    nodes = [
        N("QuantizeLinear", ["x", "xs", "xz"], ["q"]),
        N("QLinearConv", ["q", "xs", "xz", "w", "ws", "wz", "ys", "yz", "b"], ["r"], pads=[1] * 4),
        N("DequantizeLinear", ["r", "ys", "yz"], ["y"]),
    ]
    constants = {
        "xs": f(0.01)[0], "xz": np.uint8(30), "ys": f(0.1)[0], "yz": np.uint8(0),
        "w": RNG.integers(-127, 127, (5, 3, 3, 3)).astype(np.int8),
        "ws": np.abs(weights(5)) / 100 + f(0.001), "wz": np.zeros(5, np.int8),
        "b": RNG.integers(-900, 900, 5).astype(np.int32),
    }  # fmt: skip
    graph = same(build(nodes, {"x": ["N", 3, 6, 6]}, constants), low=-0.2, tolerance=1e-4)
    assert [node.op for node in graph] == ["input", "quantize", "conv", "qcfs"]


def test_dynamic_quantisation_is_imported_without_its_rounding(build):
    nodes = [
        N("DynamicQuantizeLinear", ["x"], ["q", "s", "z"]),
        N("MatMulInteger", ["q", "w", "z"], ["a"]),
        N("Cast", ["a"], ["b"], to=1),
        N("Mul", ["s", "ws"], ["t"]),
        N("Mul", ["b", "t"], ["y"]),
    ]
    w = RNG.integers(-127, 127, (12, 5)).astype(np.int8)
    imported = import_model(load_model(build(nodes, VECTOR, {"w": w, "ws": f(0.01)}))[0])
    assert [node.op for node in imported.require()] == ["input", "dense", "affine"]
    assert imported.notes == [
        "activations are quantised dynamically in the model; imported without that rounding"
    ]


def test_zero_points_that_differ_are_refused(build):
    nodes = qdq("x", "y")
    model = build(nodes, VECTOR, {"s": np.full(12, 0.1, "f4"), "z": np.arange(12).astype("u1")})
    with pytest.raises(UnsupportedOperator, match="its zero points differ between channels"):
        import_model(load_model(model)[0]).require()


def test_what_quantises_a_softmax_is_cut_off_with_it(build):
    nodes = [N("Softmax", ["x"], ["t"]), *qdq("t", "y")]
    imported = import_model(
        load_model(build(nodes, VECTOR, {"s": f(0.004)[0], "z": np.uint8(0)}))[0]
    )
    assert [node.op for node in imported.require()] == ["input"]
    assert imported.logits == ["x"]


def test_a_softmax_of_integers_is_cut_off(build):
    nodes = [N("QuantizeLinear", ["x", "s", "z"], ["a"]),
             N("QLinearSoftmax", ["a", "s", "z", "t", "z"], ["b"], domain=MS, opset=13),
             N("DequantizeLinear", ["b", "t", "z"], ["y"])]  # fmt: skip
    constants = {"s": f(0.01)[0], "z": np.uint8(0), "t": f(1 / 256)[0]}
    imported = import_model(load_model(build(nodes, VECTOR, constants, domains=[MS]))[0])
    assert imported.require() is not None
    assert imported.logits == ["a"]


# --- QONNX ----------------------------------------------------------------------------------------


def run(model, x):
    graph = import_model(load_model(model)[0]).require()
    (value,) = graph.outputs
    return forward(graph, {graph.inputs[0].name: x})[value]


def test_domains_need_not_be_declared(build):
    node = N("Quant", ["x", "s", "z", "b"], ["y"], domain=GENERAL, signed=0)
    model = build([node], VECTOR, {"s": f(0.25), "z": f(0), "b": f(2)}, domains=[GENERAL])
    del model.opset_import[1:]
    assert [entry.domain for entry in model.opset_import] == [""]
    x = RNG.uniform(-1, 1, (3, 12)).astype(np.float32)
    assert np.array_equal(run(model, x), np.rint(x * 4).clip(0, 3) / 4)


@pytest.mark.parametrize("shape", [(3, 1, 1), (1, 3, 1, 1), (1, 1, 1, 5)])
def test_scales_of_a_quantiser_broadcast(shape, build):
    node = N("Quant", ["x", "s", "z", "b"], ["y"], domain=GENERAL)
    scale = np.abs(weights(*shape)) + f(0.01)
    model = build(
        [node], {"x": ["N", 3, 4, 5]}, {"s": scale, "z": f(0), "b": f(4)}, domains=[GENERAL]
    )
    x = RNG.uniform(-9, 9, (2, 3, 4, 5)).astype(np.float32)
    np.testing.assert_allclose(run(model, x), np.rint(x / scale).clip(-8, 7) * scale, rtol=1e-6)


def test_bipolar_quantiser(build):
    node = N("BipolarQuant", ["x", "s"], ["y"], domain=GENERAL)
    x = np.array([[-7, -0.5, -1e-6, 0, 1e-9, 0.3, 900]], np.float32)
    want = np.where(x >= 0, 0.5, -0.5)
    model = build([node], {"x": ["N", 7]}, {"s": f(0.5)}, domains=[GENERAL])
    assert np.array_equal(run(model, x), want)


def test_channels_last_operators(build):
    nodes = [
        N("Conv", ["x", "w", "b"], ["c"], domain=LAST, pads=[1, 0, 1, 2], strides=[1, 2]),
        N("BatchNormalization", ["c", "g", "h", "m", "v"], ["n"], domain=LAST),
        N("Relu", ["n"], ["r"]),
        N("MaxPool", ["r"], ["y"], domain=LAST, kernel_shape=[2, 2]),
    ]
    constants = {"w": weights(5, 3, 3, 2), "b": weights(5), "g": weights(5), "h": weights(5),
                 "m": weights(5), "v": weights(5) + 2}  # fmt: skip
    plain = [
        N("Transpose", ["x"], ["t"], perm=[0, 3, 1, 2]),
        N("Conv", ["t", "w", "b"], ["c"], pads=[1, 0, 1, 2], strides=[1, 2]),
        N("BatchNormalization", ["c", "g", "h", "m", "v"], ["n"]),
        N("Relu", ["n"], ["r"]),
        N("MaxPool", ["r"], ["p"], kernel_shape=[2, 2]),
        N("Transpose", ["p"], ["y"], perm=[0, 2, 3, 1]),
    ]
    x = RNG.uniform(-1, 1, (2, 6, 8, 2)).astype(np.float32)
    inputs = {"x": ["N", 6, 8, 2]}
    model = build(plain, inputs, {**constants, "w": constants["w"].transpose(0, 3, 1, 2)})
    (want,) = onnxruntime.InferenceSession(model.SerializeToString()).run(None, {"x": x})
    last = build(nodes, inputs, constants, domains=[LAST])
    np.testing.assert_allclose(run(last, x), want, atol=1e-5)


@pytest.mark.parametrize("op", ["QLinearGlobalAveragePool", "QLinearAveragePool"])
def test_means_of_integers_with_channels_last(op, build, same):
    window = {"kernel_shape": [2, 3]} if op == "QLinearAveragePool" else {}
    nodes = [N("QuantizeLinear", ["x", "s", "z"], ["a"]),
             N(op, ["a", "s", "z", "t", "z"], ["b"], domain=MS, channels_last=1, **window),
             N("DequantizeLinear", ["b", "t", "z"], ["y"])]  # fmt: skip
    constants = {"s": f(0.01)[0], "z": np.uint8(100), "t": f(0.02)[0]}
    graph = same(build(nodes, {"x": ["N", 4, 6, 2]}, constants, domains=[MS]), tolerance=0.05)
    assert [node.op for node in graph].count("sum_pool") == 1
