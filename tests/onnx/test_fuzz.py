"""Damaged models: each is imported correctly or refused with a SpikecError."""

import random
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from google.protobuf.message import DecodeError
from onnx import helper, numpy_helper

from spikec.compiler.onnx import expose, import_model, load_model
from spikec.compiler.onnx.operators import rules
from spikec.compiler.rewrites.channels_first import channels_first
from spikec.compiler.rewrites.quantisers import recognise_quantisers
from spikec.ir import SpikecError, verify
from spikec.runtime.interpreter import forward

DATA = Path(__file__).parent / "data"
SEEDS = [path.read_bytes() for path in sorted(DATA.glob("*.onnx")) if path.stem != "torch_dynamo"]
NUMBERS = (-(2**63), -(2**31), -7, -1, 0, 1, 2, 3, 5, 64, 1000, 2**20, 2**31, 2**62)
REALS = (-1e30, -1.0, -0.0, 0.5, 1e-30, 3.0, 1e38, float("inf"), float("nan"))
OPERATORS = sorted(rules())
DTYPES = (1, 2, 3, 6, 7, 9, 10, 11, 12, 16, 17, 21)


def flip_bytes(rng, blob):
    damaged = bytearray(blob)
    for _ in range(rng.randint(1, 4)):
        damaged[rng.randrange(len(damaged))] = rng.randrange(256)
    return bytes(damaged)


def truncate(rng, blob):
    return blob[: rng.randrange(len(blob))]


def on_model(change):
    """A change of the message as a change of its bytes; nothing where it does not apply."""

    def apply(rng, blob):
        try:
            model = onnx.load_model_from_string(blob)
            for _ in range(rng.randint(1, 2)):
                change(rng, model)
            return model.SerializeToString()
        except (IndexError, ValueError, TypeError, DecodeError):
            return blob

    return apply


def node_of(rng, model):
    return model.graph.node[rng.randrange(len(model.graph.node))]


@on_model
def change_attribute(rng, model):
    node = rng.choice([n for n in model.graph.node if n.attribute])
    attribute = node.attribute[rng.randrange(len(node.attribute))]
    if attribute.ints and rng.random() < 0.7:
        attribute.ints[rng.randrange(len(attribute.ints))] = rng.choice(NUMBERS)
    elif attribute.ints:
        del attribute.ints[rng.randrange(len(attribute.ints))]
    elif attribute.type == onnx.AttributeProto.INT:
        attribute.i = rng.choice(NUMBERS)
    elif attribute.type == onnx.AttributeProto.FLOAT:
        attribute.f = rng.choice(REALS)
    else:
        attribute.CopyFrom(helper.make_attribute(attribute.name, rng.choice([1, 0.5, "?", [1]])))


@on_model
def drop_attribute(rng, model):
    node = rng.choice([n for n in model.graph.node if n.attribute])
    del node.attribute[rng.randrange(len(node.attribute))]


@on_model
def add_attribute(rng, model):
    names = ("axis", "axes", "pads", "strides", "auto_pad", "ceil_mode", "group", "perm", "mode")
    values = (1, -1, [2, 2], [0, 1, 1, 0], "SAME_UPPER", "edge", 0.5, [10**9] * 4)
    node_of(rng, model).attribute.append(
        helper.make_attribute(rng.choice(names), rng.choice(values))
    )


@on_model
def change_operator(rng, model):
    node = node_of(rng, model)
    node.domain, node.op_type = rng.choice(OPERATORS)


@on_model
def rewire(rng, model):
    node = node_of(rng, model)
    names = [name for other in model.graph.node for name in (*other.input, *other.output)]
    node.input[rng.randrange(len(node.input))] = rng.choice([*names, "", "nowhere"])


@on_model
def drop_node(rng, model):
    del model.graph.node[rng.randrange(len(model.graph.node))]


@on_model
def swap_nodes(rng, model):
    first, second = node_of(rng, model), node_of(rng, model)
    kept = onnx.NodeProto()
    kept.CopyFrom(first)
    first.CopyFrom(second)
    second.CopyFrom(kept)


@on_model
def drop_or_repeat_input(rng, model):
    node = node_of(rng, model)
    if rng.random() < 0.5:
        del node.input[rng.randrange(len(node.input))]
    else:
        node.input.append(rng.choice(list(node.input)))


@on_model
def change_input_shape(rng, model):
    dims = model.graph.input[0].type.tensor_type.shape.dim
    if rng.random() < 0.3:
        del dims[rng.randrange(len(dims))]
    else:
        dims[rng.randrange(len(dims))].dim_value = rng.choice(NUMBERS)


@on_model
def change_input_type(rng, model):
    model.graph.input[0].type.tensor_type.elem_type = rng.choice((*DTYPES, 99))


@on_model
def change_dims(rng, model):
    tensor = rng.choice(list(model.graph.initializer))
    dims = list(tensor.dims)
    if rng.random() < 0.5:
        rng.shuffle(dims)
    else:
        dims[rng.randrange(len(dims))] = rng.choice(NUMBERS)
    del tensor.dims[:]
    tensor.dims.extend(dims)


@on_model
def change_values(rng, model):
    tensor = rng.choice(list(model.graph.initializer))
    array = numpy_helper.to_array(tensor).copy()
    flat = array.reshape(-1)
    number = rng.choice(NUMBERS if array.dtype.kind == "i" else REALS)
    with np.errstate(all="ignore"):
        flat[rng.randrange(flat.size)] = np.array(number).astype(array.dtype)
    tensor.CopyFrom(numpy_helper.from_array(array, tensor.name))


@on_model
def change_data_type(rng, model):
    rng.choice(list(model.graph.initializer)).data_type = rng.choice(DTYPES)


@on_model
def change_opset(rng, model):
    model.opset_import[0].version = rng.choice((0, 1, 5, 6, 7, 9, 12, 18, 23, 99))


@on_model
def constant_to_input(rng, model):
    tensor = rng.choice(list(model.graph.initializer))
    info = helper.make_tensor_value_info(tensor.name, tensor.data_type, tensor.dims)
    model.graph.input.append(info)
    model.graph.initializer.remove(tensor)


MUTATIONS = (
    flip_bytes, truncate, change_attribute, drop_attribute, add_attribute, change_operator, rewire,
    drop_node, swap_nodes, drop_or_repeat_input, change_input_shape, change_input_type, change_dims,
    change_values, change_data_type, change_opset, constant_to_input,
)  # fmt: skip


def check(blob, seed):
    """Import damaged bytes; what is imported must rewrite, run and equal onnxruntime."""
    try:
        proto, _ = load_model(blob)
        imported = import_model(proto)
        graph = imported.require()
    except SpikecError:
        return "refused"
    rewritten = verify(recognise_quantisers(verify(channels_first(graph))))
    batch = max(_batch(proto, node) for node in graph.inputs) if imported.has_batch else 1
    if sum(node.type.size for node in graph) * batch > 1_000_000:
        return "large"
    rng = np.random.default_rng(seed)
    feeds = {n.name: rng.integers(0, 100, (batch, *n.type.shape)) for n in graph.inputs}
    feeds = {name: x.astype(np.float32) for name, x in feeds.items()}
    if not any(np.issubdtype(kind, np.integer) for kind in _types(proto).values()):
        feeds = {name: x / np.float32(100) for name, x in feeds.items()}
    with np.errstate(all="ignore"):
        values = [forward(g, feeds) for g in (graph, rewritten)]
    whole = {n.loc: feeds[n.name] for n in graph.inputs}
    if not imported.has_batch:
        whole = {name: x[0] for name, x in whole.items()}
    expected = _onnxruntime(proto, imported.logits, whole)
    if expected is None:
        return "not run by onnxruntime"
    for left, right, want in zip(graph.outputs, rewritten.outputs, expected, strict=True):
        _compare(values[0][left].reshape(want.shape), want)
        _compare(values[1][right].reshape(want.shape), want)
    return "equal"


def _batch(proto, node):
    info = next(info for info in proto.graph.input if info.name == node.loc)
    return max(info.type.tensor_type.shape.dim[0].dim_value, 1)


def _types(proto):
    return {
        info.name: helper.tensor_dtype_to_np_dtype(info.type.tensor_type.elem_type)
        for info in proto.graph.input
    }


def _onnxruntime(proto, logits, feeds):
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    types = _types(proto)
    try:
        session = onnxruntime.InferenceSession(expose(proto, logits).SerializeToString(), options)
        return session.run(None, {name: x.astype(types[name]) for name, x in feeds.items()})
    except Exception:
        return None


def _compare(found, want):
    """Equal up to rounding: a few values may fall on the other side of a quantiser's step."""
    assert found.shape == want.shape
    ok = np.isfinite(want) & np.isfinite(found) & (np.abs(want) < 1e6)
    scale = max(float(np.abs(want[ok]).max(initial=0)), 1e-3)
    assert np.abs(found[ok] - want[ok]).max(initial=0) < 0.02 * scale


def campaign(first, count):
    outcomes: dict[str, int] = {}
    for seed in range(first, first + count):
        rng = random.Random(seed)
        blob = rng.choice(SEEDS)
        for _ in range(rng.choice((1, 1, 2))):
            blob = rng.choice(MUTATIONS)(rng, blob) if len(blob) > 8 else blob
        try:
            outcome = check(blob, seed)
        except Exception as error:
            raise AssertionError(f"case {seed} raised {type(error).__name__}: {error}") from error
        outcomes[outcome] = outcomes.get(outcome, 0) + 1
    return outcomes


def test_damaged_models():
    outcomes = campaign(0, 400)
    print("fuzz:", outcomes)
    assert outcomes["refused"] > 100
    assert outcomes["equal"] > 50


@pytest.mark.slow
@pytest.mark.parametrize("block", range(8))
def test_many_damaged_models(block):
    print("fuzz:", campaign(1000 + 1000 * block, 1000))


def deep(depth):
    """An If in an If in an If."""
    branch = helper.make_graph(
        [helper.make_node("Identity", ["x"], ["b0"])], "g", [], [_info("b0")]
    )
    for level in range(1, depth):
        node = helper.make_node("If", ["c"], [f"b{level}"], then_branch=branch, else_branch=branch)
        branch = helper.make_graph([node], "g", [], [_info(f"b{level}")])
        if branch.ByteSize() > 1_000_000:
            break
    return branch


def _info(name):
    return helper.make_tensor_value_info(name, 1, ["N", 4])


BOMBS = {
    "constant_of_shape": [helper.make_node("ConstantOfShape", ["s"], ["w"]),
                          helper.make_node("MatMul", ["x", "w"], ["y"])],
    "expand": [helper.make_node("Expand", ["one", "s"], ["w"]),
               helper.make_node("MatMul", ["x", "w"], ["y"])],
    "tile": [helper.make_node("Tile", ["x", "s"], ["y"])],
    "pad": [helper.make_node("Pad", ["x", "p"], ["t"]), helper.make_node("Relu", ["t"], ["y"])],
    "range": [helper.make_node("Range", ["zero", "many", "unit"], ["w"]),
              helper.make_node("Gather", ["x", "w"], ["y"], axis=1)],
    "resize": [helper.make_node("Resize", ["x", "", "f"], ["y"])],
}  # fmt: skip
BAIT = {
    "s": np.array([1 << 40, 4]), "one": np.ones(1, np.float32), "p": np.array([0, 0, 0, 1 << 60]),
    "zero": np.array(0), "many": np.array(1 << 50), "unit": np.array(1),
    "f": np.array([1, 1e15], np.float32),
}  # fmt: skip


@pytest.mark.parametrize("bomb", BOMBS)
def test_memory_bombs(bomb, build):
    used = {name for node in BOMBS[bomb] for name in node.input if name in BAIT}
    graph = helper.make_graph(
        BOMBS[bomb], "bomb", [_info("x")], [_info("y")],
        [numpy_helper.from_array(BAIT[name], name) for name in used],
    )  # fmt: skip
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    with pytest.raises(SpikecError):
        import_model(load_model(model)[0]).require()


def test_nested_branches():
    branch = deep(14)
    graph = helper.make_graph(
        [helper.make_node("If", ["c"], ["y"], then_branch=branch, else_branch=branch)],
        "deep", [_info("x")], [_info("y")],
        [numpy_helper.from_array(np.array(True), "c")],
    )  # fmt: skip
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    import_model(load_model(model)[0]).require()
