"""What the tests of the ONNX frontend share."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import ModelProto, TensorProto, helper, numpy_helper

from spikec.compiler.onnx import Imported, expose, import_model, load_model
from spikec.ir import Graph
from spikec.runtime.interpreter import forward

onnxruntime.set_default_logger_severity(4)


@pytest.fixture
def build() -> Callable[..., ModelProto]:
    """Makes a model from nodes, data inputs and constants."""

    def make(
        nodes: Sequence[onnx.NodeProto],
        inputs: dict[str, Sequence[int | str]],
        constants: dict[str, Any] | None = None,
        outputs: Sequence[str] = ("y",),
        opset: int = 17,
        dtype: int = TensorProto.FLOAT,
        domains: Sequence[str] = (),
    ) -> ModelProto:
        result = TensorProto.FLOAT if dtype == TensorProto.UINT8 else dtype
        graph = helper.make_graph(
            list(nodes),
            "net",
            [helper.make_tensor_value_info(n, dtype, list(s)) for n, s in inputs.items()],
            [helper.make_tensor_value_info(name, result, None) for name in outputs],
            [numpy_helper.from_array(np.asarray(a), n) for n, a in (constants or {}).items()],
        )
        opsets = [helper.make_opsetid("", opset), *(helper.make_opsetid(d, 1) for d in domains)]
        model = helper.make_model(graph, opset_imports=opsets, ir_version=8)
        model = onnx.shape_inference.infer_shapes(model)
        for info in model.graph.output:
            if not info.type.tensor_type.HasField("shape"):
                info.CopyFrom(helper.make_tensor_value_info(info.name, result, ["a", "b"]))
        return model

    return make


@pytest.fixture
def same() -> Callable[..., Graph]:
    """Imports a model, checks that it equals onnxruntime on random data, and returns the graph."""

    def check(
        model: ModelProto | bytes | str,
        low: float = -1.0,
        high: float = 1.0,
        rewrite: Callable[[Graph], Graph] = lambda graph: graph,
        tolerance: float = 1e-5,
    ) -> Graph:
        proto, source = load_model(model)
        imported = import_model(proto, source)
        graph = rewrite(imported.require())
        feeds = _feeds(proto, graph, low, high, imported.has_batch)
        whole = {
            n.loc: x if imported.has_batch else x[0] for n in graph.inputs for x in [feeds[n.name]]
        }
        expected = _onnxruntime(proto, imported, whole)
        found = forward(graph, feeds)
        for name, want in zip(graph.outputs, expected, strict=True):
            have = found[name]
            # A number per sample has an axis of its own, and a batch of one may be an axis or none.
            assert [n for n in have.shape if n > 1] == [n for n in want.shape if n > 1]
            have = have.reshape(want.shape)
            scale = max(float(np.abs(want).max()), 1e-3)
            np.testing.assert_allclose(have, want, rtol=0, atol=tolerance * scale)
        return graph

    return check


def _feeds(
    proto: ModelProto, graph: Graph, low: float, high: float, has_batch: bool
) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(0)
    infos = {info.name: info for info in proto.graph.input}
    feeds = {}
    for node in graph.inputs:
        batch = infos[node.loc].type.tensor_type.shape.dim[0].dim_value or 3 if has_batch else 1
        feeds[node.name] = rng.uniform(low, high, (batch, *node.type.shape)).astype(np.float32)
        if infos[node.loc].type.tensor_type.elem_type in (TensorProto.UINT8, TensorProto.INT8):
            feeds[node.name] = np.rint(feeds[node.name])
    return feeds


def _onnxruntime(
    proto: ModelProto, imported: Imported, feeds: dict[str, np.ndarray]
) -> list[np.ndarray]:
    """Without graph optimisations, which round quantised models differently."""
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    model = expose(proto, imported.logits).SerializeToString()
    session = onnxruntime.InferenceSession(model, options)
    types = {
        info.name: helper.tensor_dtype_to_np_dtype(info.type.tensor_type.elem_type)
        for info in proto.graph.input
    }
    return session.run(None, {name: x.astype(types[name]) for name, x in feeds.items()})
