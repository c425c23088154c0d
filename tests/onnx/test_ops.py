"""The ops that carry imported operators: exact on integers, printed and parsed alike."""

import numpy as np
import pytest

from spikec.ir import F32, Graph, InvalidGraph, Node, Param, TensorType, op_of, parse, verify
from spikec.ir.op import STAGES
from spikec.ir.ops import OPS

CASES = {
    "transpose": ({"perm": (2, 0, 1)}, {}),
    "concat": ({"axis": 1}, {}),
    "slice": ({"starts": (0, 3, 1), "sizes": (3, 2, 2), "steps": (1, -2, 2)}, {}),
    "gather": ({"axis": 2, "indices": (4, 0, 0)}, {}),
    "pad": ({"pads": (0, 1, 2, 0, 0, 3)}, {}),
    "upsample": ({"factors": (1, 2, 3)}, {}),
    "reduce_sum": ({"axes": (0, 2)}, {}),
    "conv_transpose": ({"strides": (2, 1), "pads": (1, 0, 0, 1), "dilations": (1, 2), "groups": 3,
                        "extra": (1, 0)}, {"w": (3, 2, 3, 2), "b": (6,)}),
    "pointwise": ({"fn": "gelu", "alpha": 1.0}, {}),
    "qcfs": ({"levels": 4, "shift": 0.5, "rounding": "floor"}, {"lambda": (3,)}),
    "quantize": ({"lo": -3, "hi": 4, "rounding": "even"}, {"scale": ()}),
}  # fmt: skip
ROUTING = ("transpose", "concat", "slice", "gather", "pad", "upsample", "reduce_sum")


def graph_of(op):
    attrs, shapes = CASES[op]
    rng = np.random.default_rng(1)
    params = {f"n.{r}": Param.of(rng.uniform(0.5, 2, shape), F32) for r, shape in shapes.items()}
    x = Node("x", OPS["input"](), (), TensorType(F32, (3, 4, 5)))
    made, roles = OPS[op].of(attrs), {r: f"n.{r}" for r in shapes}
    types = {role: params[name].type for role, name in roles.items()}
    node = Node("n", made, ("x",), TensorType(F32, made.infer([x.type], types)), roles)
    return verify(Graph("g", "ann", 0, (x, node), ("n",), params))


@pytest.mark.parametrize("op", CASES)
def test_shape_and_text(op):
    graph = graph_of(op)
    x = np.random.default_rng(0).uniform(-2, 2, (2, 3, 4, 5)).astype(np.float32)
    node = graph["n"]
    y = op_of(node).run([x], graph.arrays(node))
    assert y.shape == (2, *node.type.shape)
    assert y.dtype == np.float32
    assert parse(graph.to_text(values=True)) == graph


@pytest.mark.parametrize("op", ROUTING)
def test_routing_is_linear_and_exact(op):
    graph = graph_of(op)
    assert OPS[op].linear
    assert OPS[op].stages == STAGES
    x = np.random.default_rng(0).integers(-(2**40), 2**40, (2, 3, 4, 5))
    made = op_of(graph["n"])
    y = made.run([x], {})
    np.testing.assert_array_equal(y, made.run([x.astype(object)], {}))


def test_transposed_convolution_of_integers_is_the_adjoint_of_convolution():
    rng = np.random.default_rng(2)
    window = {"strides": (2, 1), "pads": (1, 0, 0, 1), "dilations": (1, 2), "groups": 3}
    w = rng.integers(-9, 9, (6, 2, 3, 2))
    x, z = rng.integers(-99, 99, (1, 6, 7, 6)), rng.integers(-99, 99, (1, 6, 3, 5))
    forward = OPS["conv"].of(window).run([x], {"w": w})
    back = OPS["conv_transpose"].of({**window, "extra": (1, 0)}).run([z], {"w": w})
    assert forward.shape == z.shape
    assert back.shape == x.shape
    assert (forward * z).sum() == (back * x).sum()


@pytest.mark.parametrize(
    ("op", "attrs", "message"),
    [
        ("transpose", {"perm": (0, 0, 1)}, "perm [0, 0, 1] does not order 3 axes"),
        ("concat", {"axis": 3}, "axis 3 does not fit [3, 4, 5]"),
        ("slice", {"starts": (0, 0, 0), "sizes": (3, 4, 6), "steps": (1, 1, 1)},
         "slice 0 + 1 * 6 leaves an axis of 5"),
        ("gather", {"axis": 0, "indices": (3,)}, "indices leave an axis of 3 elements"),
        ("pad", {"pads": (0,)}, "1 pads do not fit 3 axes"),
        ("upsample", {"factors": (1, 0, 1)}, "factors must be positive"),
        ("reduce_sum", {"axes": (1, 1)}, "axes [1, 1] do not fit [3, 4, 5]"),
        ("pointwise", {"fn": "gelo", "alpha": 1.0}, "unknown function 'gelo'"),
    ],
)  # fmt: skip
def test_wrong_attributes(op, attrs, message):
    with pytest.raises(InvalidGraph) as caught:
        OPS[op].of(attrs).infer([TensorType(F32, (3, 4, 5))], {})
    assert caught.value.message == message


def test_qcfs_equals_its_equation():
    x = np.linspace(-1, 3, 1001, dtype=np.float32)[:, None]
    lam, levels = np.float32(1.5), 4
    want = lam * np.clip(np.floor(x * levels / lam + 0.5) / levels, 0, 1)
    attrs = {"levels": levels, "shift": 0.5, "rounding": "floor"}
    np.testing.assert_allclose(OPS["qcfs"].of(attrs).run([x], {"lambda": lam}), want, atol=1e-6)
