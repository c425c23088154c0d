"""What cannot be imported is refused with a sentence that helps."""

from importlib.metadata import EntryPoint

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import helper, numpy_helper

from spikec.compiler.onnx import expose, import_model, load_model, operators
from spikec.ir import InvalidModel, UnsupportedOperator
from spikec.runtime.interpreter import forward

N = helper.make_node
VECTOR = {"x": ["N", 12]}


def f(*values):
    return np.array(values, np.float32)


def refusal(model, **options):
    with pytest.raises(UnsupportedOperator) as caught:
        import_model(load_model(model)[0], **options).require()
    return caught.value


def test_all_refusals_at_once(build):
    nodes = [
        N("LRN", ["x"], ["a"], name="norm", size=3),
        N("Mul", ["x", "z"], ["b"], name="gate"),
        N("Relu", ["b"], ["c"]),
        N("Add", ["a", "c"], ["y"]),
        N("Det", ["x"], ["unused"]),
    ]
    error = refusal(build(nodes, {"x": ["N", 3, 4, 4], "z": ["N", 3, 4, 4]}), source="net.onnx")
    assert error.message == (
        "2 nodes cannot be converted:\n"
        "  norm (LRN): it divides by statistics of the data, which no sum of spikes gives\n"
        "  gate (Mul): it multiplies values that both depend on the data, which has no spiking form"
    )
    assert error.loc == "net.onnx"
    assert error.hint == (
        "train with BatchNormalization, whose statistics are constants; "
        "use constant factors; docs/products.md says why, and what else can be done"
    )


@pytest.mark.parametrize(
    ("nodes", "constants", "reason"),
    [
        ([N("Det", ["x"], ["y"], name="n")], {}, "n (Det): operator Det is not supported"),
        ([N("Cast", ["x"], ["t"], to=7, name="n"), N("Cast", ["t"], ["y"], to=1)], {},
         "n (Cast): it rounds values that depend on the data to int64"),
        ([N("ReduceMean", ["x"], ["y"], name="n")], {},
         "n (ReduceMean): it reduces all axes, the batch included"),
        ([N("Div", ["x", "w"], ["y"], name="n")], {"w": f(0)}, "n (Div): division by zero"),
        ([N("Clip", ["x", "a", "b"], ["y"], name="n")], {"a": f(2)[0], "b": f(1)[0]},
         "n (Clip): no value lies within [2.0, 1.0]"),
        ([N("Softmax", ["x"], ["t"], name="s"), N("Relu", ["t"], ["y"], name="n")], {},
         "n (Relu): it reads the result of Softmax 's', which is only supported at the end"),
        ([N("Concat", ["x", "x"], ["y"], axis=0, name="n")], {},
         "n (Concat): axis 0 mixes samples of a batch"),
        ([N("Greater", ["x", "w"], ["t"], name="n"), N("Cast", ["t"], ["y"], to=1)], {"w": f(0)},
         "n (Greater): it compares or rounds values that depend on the data"),
    ],
)  # fmt: skip
def test_reasons(nodes, constants, reason, build):
    assert reason in refusal(build(nodes, VECTOR, constants)).message


def test_transposed_convolution_that_would_leave_gaps(build):
    nodes = [N("ConvTranspose", ["x", "w"], ["y"], strides=[3, 1], auto_pad="SAME_UPPER")]
    model = build(nodes, {"x": ["N", 2, 4, 4]}, {"w": np.ones((2, 1, 2, 1), np.float32)})
    assert "a kernel [2, 1] below its strides [3, 1]" in refusal(model).message


def test_unknown_operator_has_a_suggestion(build):
    model = build([N("Gelo", ["x"], ["y"], domain="my")], VECTOR, domains=["my"])
    assert refusal(model).hint == (
        "`spikec ops` lists what is supported (did you mean Gelu?); domain 'my' is unknown"
    )


MESSAGES = {
    "LayerNormalization": (
        [N("LayerNormalization", ["x", "w"], ["y"], name="n")],
        "n (LayerNormalization): it divides by statistics of the data, which no sum of spikes "
        "gives",
        "train with BatchNormalization, whose statistics are constants"),
    "spelled_normalisation": (
        [N("ReduceMean", ["x"], ["m"], axes=[1]), N("Sub", ["x", "m"], ["d"]),
         N("Pow", ["d", "two"], ["p"]), N("ReduceMean", ["p"], ["v"], axes=[1]),
         N("Add", ["v", "e"], ["f"]), N("Sqrt", ["f"], ["s"]),
         N("Div", ["d", "s"], ["y"], name="n")],
        "n (Div): it divides by statistics of the data (a normalisation that is spelled out)",
        "train with BatchNormalization, whose statistics are constants"),
    "embedding": (
        [N("Cast", ["x"], ["i"], to=7), N("Gather", ["w", "x"], ["y"], name="n")],
        "n (Gather): an embedding: it looks up constants by values that depend on the data",
        "feed the embedded vectors as input, or one-hot vectors into a MatMul"),
    "boxes": (
        [N("NonMaxSuppression", ["x", "x"], ["y"], name="n")],
        "n (NonMaxSuppression): it chooses among boxes by values that depend on the data",
        "export the network up to its boxes and scores"),
    "one_hot": (
        [N("OneHot", ["x", "depth", "values"], ["y"], name="n")],
        "n (OneHot): it turns indices of the data into vectors",
        "feed the one-hot vectors as input"),
    "truth": (
        [N("Greater", ["x", "w"], ["g"], name="g"), N("Not", ["g"], ["y"], name="n")],
        "g (Greater): it compares or rounds values that depend on the data",
        "use Relu, Clip, Max or Min"),
    "boolean": (
        [N("And", ["x", "x"], ["y"], name="n")],
        "n (And): it computes with truth values that depend on the data, which spikes do not carry",
        "use Relu, Clip, Max or Min, or leave the decision to whoever reads the outputs"),
    "microsoft_attention": (
        [N("Attention", ["x", "w", "w"], ["y"], name="n", domain="com.microsoft")],
        "n (Attention): attention multiplies values that both depend on the data, which has no "
        "spiking form",
        "mix positions by convolutions or by MatMul with constant weights instead"),
}  # fmt: skip
MESSAGE_CONSTANTS = {"w": np.ones(12, np.float32), "two": f(2)[0], "e": f(1e-5)[0],
                     "depth": np.int64(4), "values": f(0, 1)}  # fmt: skip


@pytest.mark.parametrize("case", MESSAGES)
def test_messages_name_the_operator_and_the_way_out(case):
    nodes, reason, hint = MESSAGES[case]
    used = {name for node in nodes for name in node.input}
    graph = helper.make_graph(
        nodes,
        "net",
        [helper.make_tensor_value_info("x", 1, ["N", 12])],
        [helper.make_tensor_value_info("y", 1, ["a", "b"])],
        [
            numpy_helper.from_array(np.asarray(a), n)
            for n, a in MESSAGE_CONSTANTS.items()
            if n in used
        ],
    )
    error = refusal(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)]))
    assert error.message == f"1 node cannot be converted:\n  {reason}"
    assert error.hint == hint


SQUEEZE = [N("GlobalAveragePool", ["x"], ["s"]), N("Conv", ["s", "u"], ["r"]),
           N("Relu", ["r"], ["e"]), N("Conv", ["e", "v"], ["f"])]  # fmt: skip
SAID = "multiplies values that both depend on the data, which has no spiking form"
PAGE = "docs/products.md says why, and what else can be done"


@pytest.mark.parametrize("end", ["Sigmoid", "HardSigmoid"])
def test_squeeze_and_excitation_is_named(end, build):
    nodes = [*SQUEEZE, N(end, ["f"], ["g"]), N("Mul", ["x", "g"], ["y"], name="n")]
    constants = {"u": np.ones((2, 8, 1, 1), np.float32), "v": np.ones((8, 2, 1, 1), np.float32)}
    error = refusal(build(nodes, {"x": ["N", 8, 4, 4]}, constants))
    assert error.message.splitlines()[1] == (
        f"  n (Mul): squeeze-and-excitation {SAID}: channels by factors computed from them"
    )
    assert error.hint == f"train without it, or replace the factors by constants; {PAGE}"


def test_gates_and_other_products_are_named(build):
    halves = N("Split", ["x"], ["a", "b"], axis=1)
    for nodes, reason, hint in (
        ([halves, N("Sigmoid", ["b"], ["g"]), N("Mul", ["a", "g"], ["y"], name="n")],
         f"n (Mul): a gate {SAID}", f"train without it, or replace the gate by constants; {PAGE}"),
        ([halves, N("Mul", ["a", "b"], ["y"], name="n")],
         f"n (Mul): it {SAID}", f"use constant factors; {PAGE}"),
        ([N("MatMul", ["x", "x"], ["y"], name="n")],
         f"n (MatMul): it {SAID}", f"use constant factors; {PAGE}"),
    ):  # fmt: skip
        error = refusal(build(nodes, VECTOR))
        assert error.message == f"1 node cannot be converted:\n  {reason}"
        assert error.hint == hint


def test_attention_is_named_first(build):
    nodes = [
        N("Transpose", ["x"], ["t"], perm=[1, 0, 2]),
        *(N("MatMul", ["t", w], [w[1]], name=f"project_{w[1]}") for w in ("wq", "wk", "wv")),
        *(N("Reshape", [a, "s"], [f"{a}h"], name=f"heads_{a}") for a in "qkv"),
        N("Transpose", ["kh"], ["kt"], perm=[0, 2, 1]),
        N("MatMul", ["qh", "kt"], ["scores"], name="scores"),
        N("Softmax", ["scores"], ["p"], axis=-1),
        N("MatMul", ["p", "vh"], ["y"], name="attend"),
    ]
    shape = np.array([5, -1, 4], np.int64)
    constants = {w: np.eye(8, dtype=np.float32) for w in ("wq", "wk", "wv")}
    error = refusal(build(nodes, {"x": ["N", 5, 8]}, {**constants, "s": shape}))
    assert error.message.splitlines()[1] == (
        "  attend (MatMul): attention multiplies values that both depend on the data, "
        "which has no spiking form"
    )


OPEN = {"x": ["batch", 3, "height", "width"]}


def test_open_sizes_are_asked_for(build):
    model = build([N("Relu", ["x"], ["y"])], OPEN)
    with pytest.raises(InvalidModel) as caught:
        import_model(load_model(model)[0])
    assert caught.value.message == "axis 2 of input 'x' has no fixed size"
    assert caught.value.hint == (
        "only the first (batch) axis may be dynamic; export with fixed shapes, or give them: "
        "`--shape x=1,3,height,width`"
    )


def test_open_sizes_can_be_given(build):
    nodes = [N("Shape", ["x"], ["s"]), N("GlobalAveragePool", ["x"], ["a"]),
             N("Reshape", ["a", "r"], ["y"])]  # fmt: skip
    model = build(nodes, OPEN, {"r": np.array([0, -1], np.int64)})
    fixed, _ = load_model(model, {"x": (1, 3, 6, 5)})
    graph = import_model(fixed).require()
    assert graph["x"].type.shape == (3, 6, 5)
    x = np.random.default_rng(0).normal(size=(1, 3, 6, 5)).astype(np.float32)
    (want,) = onnxruntime.InferenceSession(fixed.SerializeToString()).run(None, {"x": x})
    (value,) = graph.outputs
    np.testing.assert_allclose(forward(graph, {"x": x})[value], want, atol=1e-6)


@pytest.mark.parametrize(
    ("shapes", "message", "hint"),
    [
        ({"z": (1, 3, 4, 4)}, "there is no input 'z'", "the inputs are 'x'"),
        ({"x": (1, 4, 4, 4)}, "shape [1, 4, 4, 4] does not fit input 'x'",
         "the model declares [?, 3, ?, ?]"),
        ({"x": (1, 3, 4)}, "shape [1, 3, 4] does not fit input 'x'",
         "the model declares [?, 3, ?, ?]"),
        ({"x": (1, 3, 0, 4)}, "shape [1, 3, 0, 4] does not fit input 'x'",
         "the model declares [?, 3, ?, ?]"),
    ],
)  # fmt: skip
def test_given_sizes_must_fit(shapes, message, hint, build):
    with pytest.raises(InvalidModel) as caught:
        load_model(build([N("Relu", ["x"], ["y"])], OPEN), shapes)
    assert (caught.value.message, caught.value.hint) == (message, hint)


def test_a_module_that_does_not_load_is_named_and_ends_nothing(build, monkeypatch, tmp_path):
    (tmp_path / "damaged.py").write_text("1 / 0")
    monkeypatch.setattr(operators, "__path__", [*operators.__path__, str(tmp_path)])
    operators.broken_modules.cache_clear()
    try:
        assert import_model(build([N("Relu", ["x"], ["y"])], VECTOR)).graph is not None
        hint = refusal(build([N("Gelo", ["x"], ["y"], domain="my")], VECTOR, domains=["my"])).hint
    finally:
        operators.broken_modules.cache_clear()
    assert hint.endswith("; module damaged does not load: ZeroDivisionError: division by zero")


def test_operators_of_plugins(build, monkeypatch, tmp_path):
    (tmp_path / "doubling_plugin.py").write_text(
        "from spikec.compiler.onnx.operators import lowers\n"
        "from spikec.compiler.onnx.operators.elementwise import scaled\n\n"
        "@lowers('Twice', domain='plug')\n"
        "def twice(node):\n"
        "    return scaled(node, node.tensor(), 2.0, 0.0)\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    entry = EntryPoint("doubling", "doubling_plugin", "spikec.onnx_operators")
    monkeypatch.setattr(operators, "entry_points", lambda group: [entry])
    monkeypatch.setattr(operators, "_RULES", dict(operators.rules()))
    operators.broken_modules.cache_clear()
    try:
        graph = import_model(
            build([N("Twice", ["x"], ["y"], domain="plug")], VECTOR, domains=["plug"])
        ).require()
    finally:
        operators.broken_modules.cache_clear()
    assert [node.op for node in graph] == ["input", "affine"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda m: m.graph.input[0].type.tensor_type.shape.dim[1].Clear(),
         "axis 1 of input 'x' has no fixed size"),
        (lambda m: setattr(m.graph.initializer[0], "raw_data", f(*[np.nan] * 12).tobytes()),
         "Add_0: 'w' holds NaN or infinite values"),
        (lambda m: setattr(m.graph.input[0].type.tensor_type, "elem_type", 9),
         "input 'x' holds bool, not numbers"),
        (lambda m: m.graph.initializer[0].dims.__setitem__(0, 1 << 40), "impossible shape"),
    ],
)  # fmt: skip
def test_invalid_models(change, message, build):
    model = build([N("Add", ["x", "w"], ["y"])], VECTOR, {"w": np.ones(12, np.float32)})
    change(model)
    with pytest.raises((InvalidModel, UnsupportedOperator)) as caught:
        import_model(model)
    assert message in str(caught.value)


def test_unknown_output_has_a_suggestion(build):
    model = build([N("Relu", ["x"], ["logits"])], VECTOR, outputs=("logits",))
    with pytest.raises(InvalidModel) as caught:
        import_model(model, output="logit")
    assert caught.value.message == "output 'logit' is not computed by any node"
    assert caught.value.hint == "did you mean 'logits'?"


def test_unneeded_nodes_are_not_refused(build):
    nodes = [N("Relu", ["x"], ["y"]), N("Det", ["x"], ["z"])]
    model = build(nodes, {"x": ["N", 3, 3]}, outputs=("y", "z"))
    assert import_model(model).refusals[0].op == "Det"
    assert import_model(model, output="y").require().outputs == ("Relu_0",)


@pytest.mark.parametrize("blob", [b"", b"\x00\x01", b"not a model", bytes(range(256))])
def test_not_a_model(blob):
    with pytest.raises(InvalidModel, match=r"not a valid ONNX model|holds no nodes"):
        load_model(blob)


def test_damaged_name(build):
    blob = build([N("Relu", ["x"], ["y"], name="abcd")], VECTOR).SerializeToString()
    with pytest.raises(InvalidModel, match=r"not UTF-8|not a valid ONNX model"):
        load_model(blob.replace(b"abcd", b"a\xff\xfed"))


def test_missing_file(tmp_path):
    with pytest.raises(InvalidModel, match="no such file"):
        load_model(tmp_path / "none.onnx")
    with pytest.raises(InvalidModel, match="is a directory"):
        load_model(tmp_path)


def external(build, tmp_path, location, offset=0, length=48):
    model = build([N("Add", ["x", "w"], ["y"])], VECTOR, {"w": np.ones(12, np.float32)})
    tensor = model.graph.initializer[0]
    tensor.ClearField("raw_data")
    tensor.data_location = onnx.TensorProto.EXTERNAL
    for key, value in (("location", location), ("offset", offset), ("length", length)):
        tensor.external_data.add(key=key, value=str(value))
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / "w.data").write_bytes(np.arange(12, dtype=np.float32).tobytes())
    (tmp_path / "secret").write_bytes(bytes(48))
    (folder / "link").symlink_to(tmp_path / "secret")
    (folder / "net.onnx").write_bytes(model.SerializeToString())
    return folder / "net.onnx", model


def test_external_data_in_the_models_folder(build, tmp_path):
    path, model = external(build, tmp_path, "w.data")
    proto, name = load_model(path)
    assert name == "net.onnx"
    assert numpy_helper.to_array(proto.graph.initializer[0])[3] == 3
    with pytest.raises(InvalidModel, match="the values of 'w' are in another file"):
        load_model(model)


@pytest.mark.parametrize("location", ["../secret", "/etc/passwd", "link", "none", "", "."])
def test_external_data_elsewhere(location, build, tmp_path):
    path, _ = external(build, tmp_path, location)
    with pytest.raises(InvalidModel, match=r"which is not a file in the model's folder"):
        load_model(path)


@pytest.mark.parametrize(("offset", "length"), [(0, 52), (40, 48), (-4, 48), (1 << 70, 1)])
def test_external_data_too_short(offset, length, build, tmp_path):
    path, _ = external(build, tmp_path, "w.data", offset, length)
    with pytest.raises(InvalidModel, match=r"'w.data' is too short for 'w'"):
        load_model(path)


def test_old_opset_is_converted(build, same):
    nodes = [N("Dropout", ["x"], ["t"], is_test=1), N("Relu", ["t"], ["y"])]
    model = build(nodes, VECTOR, opset=6)
    assert [node.op for node in same(model)] == ["input", "relu"]


def test_functions_are_inlined(build, same):
    model = build([N("Twice", ["x"], ["y"], domain="my")], VECTOR, domains=["my"])
    body = [N("Add", ["a", "a"], ["b"])]
    opsets = [helper.make_opsetid("", 17)]
    model.functions.append(helper.make_function("my", "Twice", ["a"], ["b"], body, opsets))
    assert [node.op for node in same(model)] == ["input", "affine"]


def test_expose_returns_only_what_is_asked_for(build):
    nodes = [N("Relu", ["x"], ["t"]), N("Softmax", ["t"], ["y"]), N("Neg", ["t"], ["z"])]
    exposed = expose(build(nodes, VECTOR, outputs=("y", "z")), ["t"])
    assert [node.op_type for node in exposed.graph.node] == ["Relu"]
    assert [info.name for info in exposed.graph.output] == ["t"]
