"""Quantisers: trained with QCFS, or of onnxruntime and brevitas."""

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

from spikec.compiler.onnx import import_model, load_model
from spikec.compiler.rewrites.quantisers import recognise_quantisers
from spikec.ir import UnsupportedOperator, verify

DATA = Path(__file__).parent / "data"
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
    nodes = [N("MatMul", ["x", "w"], ["a"]), *qdq("a", "y")]
    constants = {"w": weights(12, 5), "s": f(0.01)[0], "z": zero}
    graph = same(build(nodes, VECTOR, constants))
    assert (graph.nodes[-1].op, graph.nodes[-1].operation.attributes()) == (op, attrs)


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
