"""The NIR target: the file, what it refuses, and that its metadata give back the reference."""

from __future__ import annotations

import importlib.util
import itertools
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from lava_nets import Net
from numpy.lib.stride_tricks import sliding_window_view

import spikec
from spikec.backends.nir import FILE, LOSSES, READER, Nir, build, emit
from spikec.backends.nir import unavailable as nir_unavailable
from spikec.backends.nir.nodes import margin
from spikec.ir import SPIKE, BackendError, Graph
from spikec.ir.types import spikes
from spikec.runtime.interpreter import simulate

REASON = nir_unavailable()
needs_nir = pytest.mark.skipif(REASON is not None, reason=str(REASON))
ALL = tuple(LOSSES)


def written(graph: Graph, folder: Path, *, type_check: bool = True) -> Any:
    """The NIR graph that the file of a network holds."""
    import nir

    emit(graph, folder, ALL)
    return nir.read(folder / "network.nir", type_check=type_check)


def one(network: Any, kind: str) -> Any:
    """The only node of a kind."""
    (found,) = (node for node in network.nodes.values() if type(node).__name__ == kind)
    return found


# A reader of NIR files that knows what an integer network does


def pair(number: Any, rank: int) -> tuple[int, ...]:
    return tuple(int(n) for n in np.broadcast_to(number, rank))


def windows(x: np.ndarray, kernel: tuple[int, ...], node: Any) -> np.ndarray:
    """(batch, channels, *out, *kernel) of what a node's windows see."""
    rank = len(kernel)
    pads, strides = pair(node.padding, rank), pair(node.stride, rank)
    dilations = pair(getattr(node, "dilation", 1), rank)
    padded = np.pad(x, [(0, 0), (0, 0), *((p, p) for p in pads)])
    spans = tuple(d * (k - 1) + 1 for d, k in zip(dilations, kernel, strict=True))
    seen = sliding_window_view(padded, spans, axis=tuple(range(2, 2 + rank)))
    every = [slice(None, None, s) for s in strides]
    return seen[(slice(None), slice(None), *every, *(slice(None, None, d) for d in dilations))]


def convolved(x: np.ndarray, node: Any) -> np.ndarray:
    w, groups = node.weight, int(node.groups)
    rank, each, size = w.ndim - 2, len(w) // groups, w.shape[1]
    seen = windows(x, w.shape[2:], node)
    taps = tuple(range(2 + rank, 2 + 2 * rank))
    parts = [
        np.tensordot(
            seen[:, g * size : (g + 1) * size],
            w[g * each : (g + 1) * each],
            axes=((1, *taps), tuple(range(1, w.ndim))),
        )
        for g in range(groups)
    ]
    return np.moveaxis(np.concatenate(parts, -1), -1, 1) + node.bias.reshape(-1, *(1,) * rank)


def computed(node: Any, x: np.ndarray) -> np.ndarray:
    kind = type(node).__name__
    if kind.startswith("Conv"):
        return convolved(x, node)
    if kind == "Affine":
        return x @ node.weight.T + node.bias
    if kind == "Scale":
        return x * node.scale
    if kind == "SumPool2d":
        return windows(x, pair(node.kernel_size, 2), node).sum((-2, -1))
    return x.reshape(len(x), -1) if kind == "Flatten" else x


def fired(node: Any, v: np.ndarray) -> np.ndarray:
    """Spikes of IF with soft reset: `v` is changed in place."""
    firing = (v > node.v_threshold).astype(v.dtype)
    v -= node.v_threshold * firing
    return firing


def initial(node: Any, batch: int) -> np.ndarray:
    v0 = node.metadata["spikec.v0"]
    shape = tuple(node.v_threshold.shape)
    rest = (1,) * (len(shape) - 1)
    v = v0.reshape(shape) if len(v0) == math.prod(shape) else v0.reshape(-1, *rest)
    return np.broadcast_to(v, (batch, *shape)).astype(np.float64)


def evaluated(network: Any, x: np.ndarray) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """Spikes of each IF in each step, by the name in spikec, and the sum of the output."""
    steps, total = int(network.metadata["spikec.steps"]), np.zeros(())
    state = {k: initial(n, len(x)) for k, n in network.nodes.items() if type(n).__name__ == "IF"}
    firing: dict[str, list[np.ndarray]] = {}
    for _ in range(steps):
        values: dict[str, np.ndarray] = {}
        for name, node in sorted(network.nodes.items()):
            sources = [values[a] for a, b in network.edges if b == name]
            value = sum(sources[1:], sources[0]) if sources else x.astype(np.float64)
            if name in state:
                state[name] = state[name] + value
                values[name] = fired(node, state[name])
                firing.setdefault(node.metadata["spikec.name"], []).append(values[name])
            else:
                values[name] = computed(node, value)
            if type(node).__name__ == "Output":
                total = total + values[name]
    return {name: np.stack(found) for name, found in firing.items()}, total


def assert_as_reference(graph: Graph, network: Any, x: np.ndarray) -> None:
    layers = [node.name for node in graph if node.op == "integrate"]
    want = simulate(graph, {graph.inputs[0].name: x}, trace=layers)
    found, total = evaluated(network, x)
    assert found.keys() == set(layers)
    for name in layers:
        np.testing.assert_array_equal(found[name], want.traces[name].spikes, name)
    np.testing.assert_array_equal(total, want.readout[graph.outputs[0]][-1])


def random_net(seed: int) -> Graph:
    """Convolutions of any geometry, pooling, a residual join, dense layers."""
    rng = np.random.default_rng(seed)
    net = Net(seed, steps=int(rng.integers(1, 9)))
    kernel = tuple(int(k) for k in rng.integers(1, 4, 2))
    geometry = {
        "strides": tuple(int(s) for s in rng.integers(1, 3, 2)),
        "pads": tuple(int(p) for p in rng.integers(0, 3, 4)),
    }
    x = net.input(2, 6, 5)
    a = net.integrate(net.conv(x, 4, kernel, int(rng.integers(1, 3)), **geometry), 20000, 4)
    straight = net.conv(a, 4, (3, 3), 2, pads=(2, 2, 2, 2), dilations=(2, 2))
    skip = net.add("affine", a, net.shape(a), w=net.weights(4))
    b = net.integrate(net.add("add", f"{straight} {skip}", net.shape(a)), 300)
    if min(net.shape(b)[1:]) >= 2 and rng.random() < 0.7:
        b = pooled(net, b, 2, 1)
    c = net.integrate(net.dense(net.flatten(b), 7), 400, 7)
    net.readout(net.dense(c, 3))
    return net.graph()


def pooled(net: Net, x: str, *strides: int) -> str:
    """Sums over windows of 2 by 2."""
    channels, *sizes = net.shape(x)
    out = (channels, *((n - 2) // s + 1 for n, s in zip(sizes, strides, strict=True)))
    attrs = {"kernel": (2, 2), "strides": strides, "pads": (0,) * 4, "dilations": (1, 1)}
    return net.add("sum_pool", x, out, attrs=attrs)


def graded(net: Net, x: str, theta: int) -> str:
    """A neuron with payloads 1 and 2."""
    state = {"theta": net.values(theta, theta + 1), "v0": net.values(0, theta),
             "fire": net.values(theta, theta + 1)}  # fmt: skip
    attrs = {"free": False, "levels": 2}
    return net.add("integrate_graded", x, net.shape(x), spikes(2), attrs, **state)


def finished(net: Net, x: str) -> Graph:
    """The network with a dense readout behind a layer."""
    net.readout(net.dense(net.flatten(x), 3))
    return net.graph()


@needs_nir
@settings(max_examples=40)
@given(st.integers(0, 1 << 40))
def test_the_file_with_soft_reset_and_v0_is_the_reference(
    tmp_path_factory: pytest.TempPathFactory, seed: int
) -> None:
    graph = random_net(seed)
    network = written(graph, tmp_path_factory.mktemp("nir"), type_check=False)
    x = np.random.default_rng(seed).integers(0, 256, (3, 2, 6, 5))
    assert_as_reference(graph, network, x)


@pytest.mark.parametrize("steps", [1, 2, 3, 4, 7, 8, 100])
def test_lowered_thresholds_compare_as_before(steps: int) -> None:
    """Both readings, `>` and `>=`, with the lowered threshold subtracted in every step."""
    lowered, theta = 7 - margin(steps), 7
    assert margin(steps) * steps < 1
    for current in (7, 6, 3, 13):
        want, strict, loose = 0, 0.0, 0.0
        for _ in range(steps):
            want, strict, loose = want + current, strict + current, loose + current
            assert (strict > lowered) == (loose >= lowered) == (want >= theta)
            if want >= theta:
                want, strict, loose = want - theta, strict - lowered, loose - lowered


# Compiled models


@needs_nir
def test_an_example(examples: Path, images: dict[str, np.ndarray], tmp_path: Path) -> None:
    from spikec.runtime.coding import encode

    artifact = spikec.compile(
        examples / "fashion_resnet8.onnx", images["x_calib"][:16], timesteps=3, snm="off"
    )
    network = written(artifact.graph, tmp_path)
    feeds = encode(artifact.graph, {"image": images["x"][:2].astype(np.float32)}).feeds
    assert_as_reference(artifact.graph, network, feeds["image"])


@needs_nir
def test_two_emissions_are_the_same_bytes(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        emit(random_net(3), tmp_path / name, ALL)
    assert (tmp_path / "a/network.nir").read_bytes() == (tmp_path / "b/network.nir").read_bytes()


# Structure


def small() -> Net:
    net = Net(1, steps=4)
    net.conv(net.input(1, 4, 4), 2, (3, 3), pads=(1, 1, 1, 1))
    return net


@needs_nir
def test_nodes_edges_and_types(tmp_path: Path) -> None:
    net = small()
    layer = net.integrate("conv1", 500, 2)
    graph = finished(net, pooled(net, layer, 2, 2))
    network = written(graph, tmp_path)
    kinds = [type(node).__name__ for _, node in sorted(network.nodes.items())]
    assert kinds == ["Input", "Conv2d", "IF", "SumPool2d", "Flatten", "Affine", "Output"]
    names = sorted(network.nodes)
    assert names[:3] == ["n0_x", "n1_conv1", "n2_inte2"]
    assert sorted(network.edges) == list(itertools.pairwise(names))
    shapes = [tuple(network.nodes[name].output_type["output"]) for name in names]
    assert shapes == [(1, 4, 4), (2, 4, 4), (2, 4, 4), (2, 2, 2), (8,), (3,), (3,)]


@needs_nir
def test_types_that_nir_gets_wrong_are_explicit() -> None:
    net = Net(2, steps=4)
    layer = net.integrate(net.conv(net.input(2, 6, 5), 4, (1, 3), groups=2), 500, 4)
    graph = finished(net, layer)
    conv = one(build(graph), "Conv2d")
    assert conv.input_type["input"].tolist() == [2, 6, 5]
    assert conv.output_type["output"].tolist() == [4, 6, 3]


@needs_nir
def test_uneven_pads_become_taps_of_zero(tmp_path: Path) -> None:
    net = Net(2, steps=4)
    made = net.conv(net.input(1, 6, 5), 2, (2, 2), pads=(0, 1, 1, 0))
    graph = finished(net, net.integrate(made, 500, 2))
    conv = one(written(graph, tmp_path), "Conv2d")
    assert conv.weight.shape == (2, 1, 3, 3)
    assert not conv.weight[:, :, 0].any()
    assert not conv.weight[:, :, :, 2].any()
    assert tuple(conv.padding) == (1, 1)


@needs_nir
def test_metadata_hold_the_originals(tmp_path: Path) -> None:
    net = small()
    neuron = net.integrate("conv1", 500, 2)
    graph = finished(net, neuron)
    network, arrays = written(graph, tmp_path), graph.arrays(graph[neuron])
    found = one(network, "IF")
    for role in ("theta", "v0", "bias"):
        np.testing.assert_array_equal(found.metadata[f"spikec.{role}"], arrays[role])
        assert found.metadata[f"spikec.{role}_type"] == "i24"
    assert found.metadata["spikec.lost"] == "reset,v0"
    assert found.metadata["spikec.bias_in"] == "conv1"
    assert found.metadata["spikec.onnx_node"] == f"onnx/{neuron}"
    assert found.metadata["spikec.margin"] == 1 / 8
    np.testing.assert_array_equal(found.v_threshold[:, 0, 0], arrays["theta"] - 1 / 8)
    conv = one(network, "Conv2d")
    np.testing.assert_array_equal(conv.bias, arrays["bias"])
    assert conv.metadata["spikec.w_type"] == "i8"
    assert network.metadata["spikec.steps"] == 4
    assert one(network, "Output").metadata["spikec.op"] == "accumulate"


@needs_nir
def test_signed_neurons_keep_their_rule_in_metadata(tmp_path: Path) -> None:
    net = small()
    graph = finished(net, net.signed("conv1", 500))
    found = one(written(graph, tmp_path), "IF").metadata
    assert "signed" in found["spikec.lost"].split(",")
    assert "spikec.theta_neg" in found
    assert found["spikec.free"].tolist() == [False]


# Errors


REFUSED = """\
NIR cannot say
  reset: the reset that subtracts theta; IF goes back to v_reset; %inte2 (ONNX node onnx/inte2)
  v0: an initial potential; %inte2 (ONNX node onnx/inte2)
  time: how many steps there are, that the input is there in all of them and that the output is \
summed; %x (ONNX node onnx/x) and 1 more
  integers: bit widths; the values are exact; %x (ONNX node onnx/x) and 2 more
  hint: if the receiver can do without: --target 'nir{allow_lossy=reset+v0+time+integers}'"""


@needs_nir
def test_strict_by_default(tmp_path: Path) -> None:
    net = small()
    graph = finished(net, net.integrate("conv1", 500, 2))
    with pytest.raises(BackendError) as raised:
        emit(graph, tmp_path)
    assert str(raised.value) == REFUSED
    with pytest.raises(BackendError, match=r"NIR cannot say\n  v0: an initial potential; %inte2 .*"
                       r"\n  hint: .*nir\{allow_lossy=reset\+v0\+time\+integers\}'"):  # fmt: skip
        emit(graph, tmp_path, ("reset", "time", "integers"))
    assert not list(tmp_path.iterdir())


@needs_nir
@pytest.mark.parametrize("loss", ["signed", "graded"])
def test_neurons_that_if_is_not(tmp_path: Path, loss: str) -> None:
    net = small()
    made = net.signed("conv1", 500) if loss == "signed" else graded(net, "conv1", 500)
    graph = finished(net, made)
    with pytest.raises(BackendError, match=rf"\n  {loss}: {LOSSES[loss]}; %{made} "):
        emit(graph, tmp_path, set(ALL) - {loss})


@needs_nir
def test_a_bias_that_no_layer_can_carry(tmp_path: Path) -> None:
    net = small()
    layer = net.integrate("conv1", 500, 2)
    neuron = net.integrate(pooled(net, layer, 2, 2), 3000, 2)
    graph = finished(net, neuron)
    with pytest.raises(BackendError, match=rf"\n  bias: {LOSSES['bias']}; %{neuron} "):
        emit(graph, tmp_path, set(ALL) - {"bias"})


@needs_nir
def test_what_has_no_node(tmp_path: Path) -> None:
    net = small()
    layer = net.integrate("conv1", 500, 2)
    attrs = {"axis": 0}
    both = net.add("concat", f"{layer} {layer}", (4, 4, 4), SPIKE, attrs=attrs)
    graph = finished(net, both)
    with pytest.raises(BackendError, match=f"onnx/{both}: NIR has no node for concat %{both}"):
        emit(graph, tmp_path, ALL)


@needs_nir
def test_an_unknown_loss(tmp_path: Path) -> None:
    with pytest.raises(BackendError, match="unknown loss 'all'\n  hint: one of reset, v0, signed"):
        emit(random_net(0), tmp_path, ("all",))


def test_without_the_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(spikec.backends.nir, "find_spec", lambda name: None)
    assert Nir().unavailable() == "pip install spikec[nir]"
    with pytest.raises(BackendError, match=r"target 'nir' is not available: pip install spikec"):
        emit(random_net(0), tmp_path, ALL)


# Another framework

needs_sinabs = pytest.mark.skipif(
    importlib.util.find_spec("sinabs") is None, reason="sinabs is not installed"
)


def read_by_sinabs(folder: Path) -> Any:
    """The network in a folder, by the reader that lies beside it."""
    spec = importlib.util.spec_from_file_location("sinabs_reader", folder / READER)
    assert spec is not None
    assert spec.loader is not None
    reader = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(reader)
    return reader.SpikingNetwork(folder / FILE)


@needs_nir
@needs_sinabs
@pytest.mark.filterwarnings("ignore")
def test_sinabs_fires_as_the_reference(tmp_path: Path) -> None:
    net = small()
    neuron = net.add("integrate", "conv1", (2, 4, 4), SPIKE, theta=net.values(500, 900, 2),
                     v0=net.values(0, 400, 2), bias=net.values(-900, 90, 2))  # fmt: skip
    graph = finished(net, neuron)
    emit(graph, tmp_path, ALL)
    network = read_by_sinabs(tmp_path)
    x = np.random.default_rng(0).integers(0, 256, (3, 1, 4, 4))
    want = simulate(graph, {"x": x}).readout[graph.outputs[0]][-1]
    for _ in range(2):  # each run starts anew
        np.testing.assert_array_equal(network.readout(x), want)


@needs_nir
@needs_sinabs
@pytest.mark.filterwarnings("ignore")
def test_sinabs_gives_the_outputs_of_an_example(
    examples: Path, images: dict[str, np.ndarray], tmp_path: Path
) -> None:
    art = spikec.compile(
        examples / "fashion_qcfs_vgg.onnx", images["x_calib"][:16], timesteps=4, snm="off"
    )
    emit(art.graph, tmp_path, ALL)
    x = images["x"][:4]
    np.testing.assert_array_equal(read_by_sinabs(tmp_path)(x), art.run(x))


@needs_nir
@needs_sinabs
@pytest.mark.filterwarnings("ignore")
def test_branches_are_refused_for_sinabs(tmp_path: Path) -> None:
    emit(random_net(0), tmp_path, ALL)
    with pytest.raises(ValueError, match="branches, which nirtorch does not add up"):
        read_by_sinabs(tmp_path)
