"""The ONNX target: one model of standard operators, bit for bit the reference."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from lava_nets import Net
from random_nets import Random, assert_equal_runs, feeds

import spikec
from spikec.backends import Simulate, engine, target
from spikec.backends.onnx.network import OPSET, build
from spikec.backends.onnx.simulate import simulate
from spikec.ir import BackendError, Graph, Param, RangeError, signed, unsigned
from spikec.ir.types import F64
from spikec.runtime.coding import encode
from spikec.runtime.interpreter import simulate as reference

Images = dict[str, np.ndarray]


def run(model: onnx.ModelProto, **inputs: np.ndarray) -> dict[str, np.ndarray]:
    """Run a checked model in plain onnxruntime."""
    onnx.checker.check_model(model, full_check=True)
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), providers=["CPUExecutionProvider"]
    )
    names = [output.name for output in session.get_outputs()]
    return dict(zip(names, session.run(names, inputs), strict=True))


def assert_model_equals(artifact: spikec.Artifact, x: np.ndarray, output: str) -> None:
    graph = artifact.graph
    (source,), (name,) = graph.inputs, graph.outputs
    found = run(build(graph), **{source.loc or source.name: x})
    assert found[output].dtype == np.float64
    want = artifact.run(x, engine="reference")
    np.testing.assert_array_equal(found[output].reshape(want.shape), want)
    coded = encode(graph, {source.name: x})
    np.testing.assert_array_equal(found[name], reference(graph, coded.feeds).readout[name][-1])
    assert found["clipped"].sum() == coded.clipped
    assert not found.get("overflows", np.zeros(1)).any()


# Compiled models


@pytest.mark.parametrize("samples", [1, 3])
def test_the_tiny_model(
    tiny_artifact: spikec.Artifact, tiny_data: np.ndarray, samples: int
) -> None:
    assert_model_equals(tiny_artifact, tiny_data[:samples] * 1.2 - 0.1, "gemm")


@pytest.mark.parametrize(
    "options", [{}, {"spikes": "graded"}, {"schedule": "layerwise"}], ids=["", "graded", "window"]
)
@pytest.mark.parametrize(
    ("name", "output"), [("fashion_resnet8", "/9/Gemm"), ("fashion_qcfs_vgg", "")]
)
def test_examples(
    examples: Path, images: Images, name: str, output: str, options: dict[str, str]
) -> None:
    artifact = spikec.compile(
        examples / f"{name}.onnx", images["x_calib"][:16], timesteps=4, reconstruct="off", **options
    )
    readout = artifact.graph[artifact.graph.outputs[0]]
    assert_model_equals(artifact, images["x"][:3].astype(np.float32), output or str(readout.loc))


def test_compile_and_check(
    tiny_onnx: Callable[[], onnx.ModelProto], tiny_data: np.ndarray, tmp_path: Path
) -> None:
    artifact = spikec.compile(tiny_onnx(), tiny_data, timesteps=3, samples=16, target="onnx")
    artifact.save(tmp_path / "out")
    model = onnx.load(tmp_path / "out" / "onnx" / "network.onnx")
    loaded = spikec.load(tmp_path / "out")
    want = loaded.run(tiny_data[:2], engine="reference")
    assert [output.name for output in model.graph.output][:2] == ["logits", "gemm.out"]
    np.testing.assert_array_equal(run(model, x=tiny_data[:2])["logits"], want)
    np.testing.assert_array_equal(loaded.run(tiny_data[:2], engine="onnx"), want)
    assert loaded.check(tiny_data[:2], ("reference", "onnx"))["equal"]


def test_an_output_keeps_its_name_even_if_that_is_the_readouts(
    tiny_artifact: spikec.Artifact, tiny_data: np.ndarray
) -> None:
    found = run(build(tiny_artifact.graph, ["gemm.out"]), x=tiny_data[:2])
    np.testing.assert_array_equal(found["gemm.out"], tiny_artifact.run(tiny_data[:2]))
    assert len(found) == 3


def test_two_emissions_are_the_same_bytes(tiny_artifact: spikec.Artifact, tmp_path: Path) -> None:
    emit = target("onnx").emit
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        emit(tiny_artifact.graph, tmp_path / name)
    assert (tmp_path / "a/network.onnx").read_bytes() == (tmp_path / "b/network.onnx").read_bytes()


def test_what_a_viewer_shows(tiny_artifact: spikec.Artifact) -> None:
    model = build(tiny_artifact.graph)
    assert [(o.domain, o.version) for o in model.opset_import] == [("", OPSET)]
    props = {p.key: p.value for p in model.metadata_props}
    assert props["spikec.timesteps"] == "4"
    assert props["spikec.weight_bits"] == "8"
    assert model.graph.input[0].name == "x"
    assert model.graph.input[0].type.tensor_type.shape.dim[0].dim_param == "N"
    scans = {node.name: node for node in model.graph.node if node.op_type == "Scan"}
    neuron = {p.key: p.value for p in scans["relu1/scan"].metadata_props}
    assert neuron["spikec.onnx_node"] == "relu1"
    assert len(eval(neuron["spikec.scale"])) == 4
    assert "theta" in scans["relu1/scan"].doc_string
    values = {name for node in model.graph.node for name in node.output}
    assert {node.name for node in tiny_artifact.graph.nodes} - {"x", "gemm"} <= values


# Any integer network


@settings(max_examples=50)
@given(st.integers(0, 1 << 40), st.integers(0, 6))
def test_random_networks(seed: int, layers: int) -> None:
    graph = Random(seed).grow(layers)
    assert_equal_runs(simulate, graph, feeds(graph, seed))
    onnx.checker.check_model(build(graph), full_check=True)


@settings(max_examples=30)
@given(st.integers(0, 1 << 40), st.integers(0, 3), st.integers(12, 22))
def test_overflow_is_never_silent(seed: int, layers: int, bits: int) -> None:
    graph = Random(seed).grow(layers)
    nodes = [
        replace(n, type=n.type.with_dtype(signed(bits))) if n.type.dtype == signed(24) else n
        for n in graph.nodes
    ]
    graph = replace(graph, nodes=tuple(nodes))
    x = feeds(graph, seed)
    model = build(graph)
    real = {node.name: x[node.name].astype(np.float32) for node in graph.inputs}
    counts = run(model, **real).get("overflows", np.zeros(3))
    for sample in range(3):
        one = {name: values[sample : sample + 1] for name, values in x.items()}
        want, got = range_error(reference, graph, one), range_error(simulate, graph, one)
        assert got == want
        assert (counts[sample] > 0) == (want is not None)


def range_error(simulate: Simulate, graph: Graph, x: dict[str, Any]) -> str | None:
    try:
        simulate(graph, x)
    except RangeError as error:
        return str(error)
    return None


@pytest.mark.parametrize("steps", [1, 9])
def test_other_steps(steps: int) -> None:
    graph = Random(5).grow(4)
    assert_equal_runs(simulate, graph, feeds(graph, 5), steps)


@pytest.mark.parametrize("bits", [8, 16, 24])
@pytest.mark.parametrize("kind", ["conv", "dense", "transposed"])
def test_sums_beyond_2_to_24(kind: str, bits: int) -> None:
    net = Net(3, steps=2)
    source = net.add("input", "", (700, 1), unsigned(bits), name="x")
    w = Param.of(np.full((2, 700, 1), 127), signed(8))
    flat = {"strides": (1,), "pads": (0, 0), "dilations": (1,)}
    if kind == "conv":
        y = net.add("conv", source, (2, 1), signed(48), {**flat, "groups": 1}, w=w)
    elif kind == "transposed":
        w = Param.of(np.full((700, 2, 1), -127), signed(8))
        attrs = {**flat, "groups": 1, "extra": (0,)}
        y = net.add("conv_transpose", source, (2, 1), signed(48), attrs, w=w)
    else:
        x = net.add("reshape", source, (700,), unsigned(bits), {"shape": (700,)})
        w = Param.of(np.full((2, 700), 127), signed(8))
        y = net.add("dense", x, (2,), signed(48), w=w)
    net.add("accumulate", y, net.shape(y), signed(48), name="out")
    rng = np.random.default_rng(0)
    codes = rng.integers(0, 1 << bits, (3, 700, 1))
    codes[0] = (1 << bits) - 1
    assert_equal_runs(simulate, net.graph(), {"x": codes})


def test_blocks_of_samples(monkeypatch: pytest.MonkeyPatch) -> None:
    graph = Random(11).grow(3)
    module = importlib.import_module("spikec.backends.onnx.simulate")
    monkeypatch.setattr(module, "_ELEMENTS", 1)
    assert_equal_runs(simulate, graph, feeds(graph, 11))


# Inputs


def coded_graph(scale: Any, offset: Any) -> Graph:
    graph = Random(2).grow(0)
    for node in graph.inputs:
        roles = {"scale": Param.of(scale, F64), "offset": Param.of(offset, F64)}
        graph = graph.with_params({node.params[role]: param for role, param in roles.items()})
    return graph


@given(st.floats(1e-3, 4), st.floats(-300, 300), st.integers(0, 1 << 30))
def test_real_inputs_are_coded_alike(scale: float, offset: float, seed: int) -> None:
    graph, rng = coded_graph(scale, offset), np.random.default_rng(seed)
    codes = rng.integers(-20, 560, (2, *graph.inputs[0].type.shape)) / 2  # ties, and outside
    x = {node.name: (codes * scale + offset).astype(np.float32) for node in graph.inputs}
    wide = {name: values.astype(np.float64) for name, values in x.items()}
    coded, found = encode(graph, wide), run(build(graph), **x)
    (name,) = graph.outputs
    np.testing.assert_array_equal(found[name], reference(graph, coded.feeds).readout[name][-1])
    assert found["clipped"].sum() == coded.clipped


def test_not_a_number_is_counted_as_clipped() -> None:
    graph = coded_graph(1.0, 0.0)
    x = {n.name: np.zeros((2, *n.type.shape), np.float32) for n in graph.inputs}
    x["x"].flat[0], x["x"].flat[1] = np.nan, np.inf
    assert run(build(graph), **x)["clipped"].tolist() == [2, 0]


# Refusals


def test_a_float_graph_is_refused(tiny_artifact: spikec.Artifact) -> None:
    with pytest.raises(BackendError, match="stage snn"):
        build(tiny_artifact.stage("float"))
    with pytest.raises(BackendError, match="stage snn"):
        engine("onnx")(tiny_artifact.stage("float"), {"x": np.zeros((1, 2, 6, 6))})


def test_a_sum_of_too_many_weights_names_the_node() -> None:
    net = Net(3, steps=2)
    source = net.input(1 << 18, 1)
    w = Param.of(np.full((1, 1 << 18, 1), 127), signed(8))
    attrs = {"strides": (1,), "pads": (0, 0), "dilations": (1,), "groups": 1}
    net.readout(net.add("conv", source, (1, 1), signed(48), attrs, "big", w=w))
    with pytest.raises(BackendError, match=r"%big = conv sums too many weights") as raised:
        simulate(net.graph(), net.feeds())
    assert raised.value.loc == "onnx/big"


def test_what_onnx_pooling_cannot_do_names_the_node() -> None:
    net = Net(3, steps=2)
    fired = net.integrate(net.conv(net.input(1, 4, 4), 1, (1, 1)))
    attrs = {"kernel": (2, 2), "strides": (1, 1), "pads": (2, 0, 0, 0), "dilations": (2, 2)}
    dtype = net.nodes[fired].type.dtype
    pooled = net.add("max_pool_count", fired, (1, 4, 2), dtype, attrs, "pool")
    net.readout(net.dense(net.flatten(pooled), 2))
    with pytest.raises(BackendError, match="%pool: pads as large as the window"):
        simulate(net.graph(), net.feeds())
