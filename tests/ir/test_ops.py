"""The registry, and the ops that move, sum or bend values."""

import math
from importlib.metadata import EntryPoint

import numpy as np
import pytest

from spikec.ir import F32, OPS, InvalidGraph, SpikecError, TensorType, parse
from spikec.ir.op import STAGES, Op
from spikec.ir.ops.activations.pointwise import FUNCTIONS
from spikec.runtime.interpreter import forward

X = np.arange(24).reshape(1, 2, 3, 4)


def run(op, x=X, params=None, **attrs):
    return OPS[op].of(attrs).run(x if isinstance(x, list) else [x], params or {})


def infer(op, *shapes, params=None, **attrs):
    types = {role: TensorType(F32, shape) for role, shape in (params or {}).items()}
    return OPS[op].of(attrs).infer([TensorType(F32, shape) for shape in shapes], types)


@pytest.mark.parametrize("name", sorted(OPS))
def test_every_op_is_documented_and_sound(name):
    op = OPS[name]
    assert issubclass(op, Op)
    assert op.name == name
    assert "__slots__" in vars(op)
    assert (op.__doc__ or "").strip()
    assert op.stages
    assert set(op.stages) <= set(STAGES)
    assert all(attribute.doc for attribute in op.schema().values())
    assert all(spec.doc for spec in op.params.values())
    assert op.result in ("current", "spike", "same")
    if op.weighted:
        assert "w" in op.params
        assert op.linear
    if op.neuron:
        assert op.stateful
        assert {"theta", "v0"} <= set(op.params)


def test_add():
    assert (run("add", [X, X, X]) == 3 * X).all()
    with pytest.raises(InvalidGraph, match="cannot add shapes"):
        infer("add", (2,), (3,))


def test_concat():
    assert (run("concat", [X, X], axis=1) == np.concatenate([X, X], axis=2)).all()
    assert infer("concat", (2, 3), (2, 4), axis=1) == (2, 7)
    for shapes, axis in [(((2, 3), (3, 4)), 1), (((2, 3), (2,)), 0), (((2,), (2,)), 1)]:
        with pytest.raises(InvalidGraph, match=r"axis|concatenate"):
            infer("concat", *shapes, axis=axis)


def test_gather():
    assert (run("gather", axis=2, indices=(3, 0, 3)) == X[..., [3, 0, 3]]).all()
    for indices in [(), (4,), (-1,)]:
        with pytest.raises(InvalidGraph, match=r"element|indices"):
            infer("gather", (2, 3, 4), axis=2, indices=indices)


def test_pad():
    padded = run("pad", pads=(0, 1, 2, 1, 0, 3))
    assert (padded == np.pad(X, [(0, 0), (0, 1), (1, 0), (2, 3)])).all()
    assert infer("pad", (2, 3, 4), pads=(0, 1, 2, 1, 0, 3)) == padded.shape[1:]


def test_reduce_sum():
    small = X.astype(np.int8) * 5
    total = run("reduce_sum", small, axes=(1, 2))
    assert total.dtype == np.int64
    assert (total == small.astype(int).sum(axis=(2, 3), keepdims=True)).all()
    assert infer("reduce_sum", (2, 3), axes=(0,)) == (1, 3)
    for axes in [(2,), (0, 0), (-1,)]:
        with pytest.raises(InvalidGraph, match="do not fit"):
            infer("reduce_sum", (2, 3), axes=axes)


def test_reshape_and_transpose():
    assert (run("reshape", shape=(4, 6)) == X.reshape(1, 4, 6)).all()
    assert (run("transpose", perm=(2, 0, 1)) == X.transpose(0, 3, 1, 2)).all()
    assert infer("transpose", (2, 3, 4), perm=(2, 0, 1)) == (4, 2, 3)
    for perm in [(0, 1), (0, 1, 1), (0, 1, 3)]:
        with pytest.raises(InvalidGraph, match="does not order"):
            infer("transpose", (2, 3, 4), perm=perm)


def test_slice():
    found = run("slice", starts=(1, 2, 0), sizes=(1, 3, 2), steps=(1, -1, 2))
    assert (found == X[:, 1:2, ::-1, 0:4:2]).all()
    for starts, sizes, steps in [((2,), (1,), (1,)), ((0,), (3,), (1,)), ((0,), (2,), (-1,)),
                                 ((0,), (1,), (0,)), ((0,), (0,), (1,)),
                                 ((0, 0), (1,), (1,))]:  # fmt: skip
        with pytest.raises(InvalidGraph, match=r"slice|steps"):
            infer("slice", (2,), starts=starts, sizes=sizes, steps=steps)


def test_upsample():
    assert (run("upsample", factors=(1, 2, 3)) == X.repeat(2, axis=2).repeat(3, axis=3)).all()
    with pytest.raises(InvalidGraph, match="positive"):
        infer("upsample", (2,), factors=(0,))


def test_rectifiers():
    x = np.array([[-1.5, 0.0, 2.0, 9.0]], np.float32)
    assert run("relu", x).tolist() == [[0, 0, 2, 9]]
    assert run("clip", x, hi=6.0).tolist() == [[0, 0, 2, 6]]
    assert run("relay", x) is x
    with pytest.raises(InvalidGraph, match="must be above 0"):
        infer("clip", (4,), hi=0.0)


@pytest.mark.parametrize("dtype", ["f4", "f8"])
def test_qcfs_is_the_formula(dtype):
    x = np.linspace(-2, 6, 97, dtype=dtype)[None]
    lam, levels = 3.0, 4
    y = run("qcfs", x, {"lambda": np.array(lam, dtype)}, levels=levels, shift=0.5, rounding="floor")
    expected = [lam * min(max(math.floor(v * levels / lam + 0.5) / levels, 0), 1) for v in x[0]]
    assert y.dtype == x.dtype
    assert np.allclose(y[0], expected)


def test_rounding_of_ties():
    x = np.array([[0.5, 1.5, 2.5]])
    one = {"lambda": np.array(8.0)}
    floor = run("qcfs", x, one, levels=8, shift=0.5, rounding="floor")
    even = run("qcfs", x, one, levels=8, shift=0.5, rounding="even")
    assert floor.tolist() == [[1, 2, 3]]
    assert even.tolist() == [[0, 2, 2]]
    signed = run("quantize", -x, {"scale": np.array(1.0)}, lo=-2, hi=2, rounding="even")
    assert signed.tolist() == [[0, -2, -2]]


@pytest.mark.parametrize(
    ("fn", "alpha", "reference"),
    [
        ("sigmoid", 1.0, lambda x: 1 / (1 + math.exp(-x))),
        ("tanh", 1.0, math.tanh),
        ("elu", 0.7, lambda x: x if x > 0 else 0.7 * math.expm1(x)),
        ("softplus", 1.0, lambda x: math.log1p(math.exp(x))),
        ("softsign", 1.0, lambda x: x / (1 + abs(x))),
        ("silu", 1.0, lambda x: x / (1 + math.exp(-x))),
        ("gelu", 1.0, lambda x: 0.5 * x * (1 + math.erf(x / math.sqrt(2)))),
        (
            "gelu_tanh",
            1.0,
            lambda x: x / (1 + math.exp(-1.5957691216 * (x + 0.044715 * x * x * x))),
        ),
        ("mish", 1.0, lambda x: x * math.tanh(math.log1p(math.exp(x)))),
        ("hard_swish", 1.0, lambda x: x * min(max(x / 6 + 0.5, 0), 1)),
        ("threshold", 0.5, lambda x: x if x > 0.5 else 0),
        ("power", 3.0, lambda x: x**3),
        ("erf", 1.0, math.erf),
        ("sign", 1.0, lambda x: math.copysign(1, x) if x else 0),
    ],
)
def test_functions(fn, alpha, reference):
    x = np.linspace(-4, 4, 33)[None]
    assert np.allclose(run("pointwise", x, fn=fn, alpha=alpha)[0], [reference(v) for v in x[0]],
                       atol=1e-8)  # fmt: skip


def test_functions_do_not_warn_outside_their_domain():
    x = np.array([[-1e30, -1.0, 0.0, 1e30]], np.float32)
    for fn in FUNCTIONS:
        assert run("pointwise", x, fn=fn, alpha=1.0).shape == x.shape
    with pytest.raises(InvalidGraph, match="unknown function 'warp'"):
        infer("pointwise", (2,), fn="warp", alpha=1.0)


PLUGIN = """
from dataclasses import dataclass
from spikec.ir.op import Op

@dataclass(frozen=True, slots=True)
class Doubled(Op):
    "Twice its input."
    linear = True

    def run(self, inputs, params):
        return 2 * inputs[0]
"""


@pytest.fixture
def plugin(tmp_path, monkeypatch):
    """Installs a module as a plugin that adds an op of its name."""

    def install(name, source):
        (tmp_path / f"{name}.py").write_text(source)
        monkeypatch.syspath_prepend(str(tmp_path))
        entries = [EntryPoint(name, name, "spikec.ops")]
        monkeypatch.setattr("spikec.ir.registry.entry_points", lambda group: entries)
        monkeypatch.setattr(OPS, "_has_plugins", False)
        monkeypatch.setattr(OPS, "_modules", dict(OPS._modules))
        monkeypatch.setattr(OPS, "_loaded", dict(OPS._loaded))

    return install


def test_an_installed_plugin_adds_an_op(plugin):
    plugin("doubled", PLUGIN)
    graph = parse(
        """
graph @net <stage=ann, steps=0> {
  %x : f32[2] = input()
  %y : f32[2] = doubled(%x)
  return %y
}
"""
    )
    assert forward(graph, {"x": np.array([[1.0, 2.0]])})["y"].tolist() == [[2, 4]]


@pytest.mark.parametrize(
    ("name", "source", "problem"),
    [
        ("empty_op", "", "op 'empty_op' cannot be loaded: .* exactly one Op, not 0"),
        ("broken_op", "import nothing_like_it", "op 'broken_op' cannot be loaded: ModuleNot"),
    ],
)
def test_a_broken_plugin_names_itself(name, source, problem, plugin):
    plugin(name, source)
    assert name in OPS
    assert OPS["relu"]().run([X], {}).shape == X.shape
    with pytest.raises(SpikecError, match=problem):
        OPS[name]
