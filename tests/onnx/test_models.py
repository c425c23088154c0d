"""Whole models as exporters write them."""

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import helper

from spikec.compiler.onnx import import_model, load_model
from spikec.compiler.rewrites.channels_first import channels_first
from spikec.compiler.rewrites.quantisers import recognise_quantisers
from spikec.ir import verify
from spikec.runtime.interpreter import forward

DATA = Path(__file__).parent / "data"
LOADABLE = sorted(
    p.name for p in DATA.glob("*.onnx") if p.stem not in ("brevitas_qonnx", "keras_jax")
)


def ops(graph):
    return [node.op for node in graph]


@pytest.mark.parametrize("name", LOADABLE)
def test_equals_onnxruntime(name, same):
    same(str(DATA / name), low=0.0)


@pytest.mark.parametrize("name", LOADABLE)
def test_rewrites_keep_the_meaning(name, same):
    def rewrite(graph):
        return verify(recognise_quantisers(verify(channels_first(graph))))

    same(str(DATA / name), low=0.0, rewrite=rewrite)


@pytest.mark.parametrize(
    "name", ["flax_nnx_dyn", "keras_jax", "keras_torch_dw", "keras_tensorflow"]
)
def test_no_transpose_stays_but_at_the_input(name):
    proto, _ = load_model(DATA / f"{name}.onnx")
    graph = channels_first(import_model(proto).require())
    nodes = graph.by_name
    turned = [node for node in graph if node.op == "transpose"]
    assert all(nodes[node.inputs[0]].op == "input" for node in turned)
    assert "reduce_sum" not in ops(graph)


def test_jax_windows_over_all_axes_are_pooling():
    proto, _ = load_model(DATA / "keras_jax.onnx")
    graph = import_model(proto).require()
    other = load_model(_pooled_by_maxpool(proto))[0]
    twin = import_model(other).require()
    x = np.random.default_rng(0).random((2, 28, 28, 1), np.float32)
    left, right = (forward(g, {g.inputs[0].name: x})[g.outputs[0]] for g in (graph, twin))
    np.testing.assert_allclose(left, right, atol=1e-6)
    assert "max_pool" in ops(graph)
    assert "sum_pool" in ops(graph)


def _pooled_by_maxpool(proto):
    """The model with its 6-dimensional MaxPool, which no runtime has, between transposes."""
    changed = onnx.ModelProto()
    changed.CopyFrom(proto)
    nodes, start = list(changed.graph.node), None
    start = next(i for i, node in enumerate(nodes) if node.op_type == "MaxPool") - 2
    stop = start + 4
    source, result = nodes[start].input[0], nodes[stop - 1].output[0]
    pool = [
        helper.make_node("Transpose", [source], ["first"], perm=[0, 3, 1, 2]),
        helper.make_node("MaxPool", ["first"], ["best"], kernel_shape=[2, 2], strides=[2, 2]),
        helper.make_node("Transpose", ["best"], [result], perm=[0, 2, 3, 1]),
    ]
    del changed.graph.node[:]
    changed.graph.node.extend([*nodes[:start], *pool, *nodes[stop:]])
    return changed


def test_qonnx_means_the_same_as_qcdq():
    graphs = [
        import_model(load_model(DATA / f"brevitas_{kind}.onnx")[0]).require()
        for kind in ("qcdq", "qonnx")
    ]
    x = np.random.default_rng(0).random((1, 1, 28, 28), np.float32)
    values = [forward(g, {g.inputs[0].name: x})[g.outputs[0]] for g in graphs]
    np.testing.assert_array_equal(*values)
    assert ops(graphs[0]) == ops(graphs[1])


@pytest.mark.parametrize("name", ["skl_mlp", "skl_scaler_mlp"])
def test_labels_and_probabilities_are_cut_off(name):
    proto, source = load_model(DATA / f"{name}.onnx")
    imported = import_model(proto, source)
    assert len(imported.require().outputs) == len(imported.logits) == 1
    assert imported.notes == ["Softmax 'Relu2' at the end is left out: outputs are its input"]


def test_output_is_chosen_by_name():
    proto, _ = load_model(DATA / "torch_dynamo.onnx")
    relu = next(node for node in proto.graph.node if node.op_type == "Relu")
    imported = import_model(proto, output=relu.output[0])
    assert imported.logits == [relu.output[0]]
    assert imported.require()[imported.require().outputs[0]].op == "relu"
