"""The mixed schedule: windows where timing costs, everything else as it was."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

import spikec
from spikec.compiler.calibration.cone import Held
from spikec.compiler.calibration.layer import Layer, Neurons
from spikec.compiler.calibration.mixed import Mixed
from spikec.compiler.pipeline import Record, parse_pipeline
from spikec.driver.contents import resources
from spikec.ir import SPIKE, Node, PassError, TensorType, UsageError, op_of
from spikec.ir.neuron import Neuron
from spikec.ir.ops import OPS
from spikec.options import Options

STEPS = 4
RELAY, RECTIFIER = OPS["integrate_signed"](free=True), OPS["integrate"]()


def layer_of(op: Neuron, *, late: bool, steps: int = STEPS) -> Layer:
    """Random currents that come evenly, or all in the last step, and their mean as target."""
    rng = np.random.default_rng(3)
    low = -4 if op is RELAY else 0
    mean = rng.integers(low, 5, (40, 2, 3, 3)).astype(np.float32) / 4
    share = np.ones(steps, np.float32)
    if late:
        share[:] = 0
        share[-1] = steps
    wide = np.ones(2, np.float32)
    return Layer(
        node=Node("n", op, ("c",), TensorType(SPIKE, (2, 3, 3))),
        neurons=Neurons(op, wide, wide / 2, np.zeros(2, np.float32)),
        current=Held(share.reshape(-1, 1, 1, 1, 1) * mean),
        before=mean, target=mean, steps=steps, bounded=False, rng=rng,
    )  # fmt: skip


def fitted(layer: Layer, **options: object) -> tuple[Layer, dict[str, object]]:
    """What the pass makes of a layer, and what it tells."""
    record = Record("mixed", {})
    made = Mixed(**options).fit(layer, record)  # type: ignore[arg-type]
    return made, record.layers.get("n", {})


def test_a_relay_whose_input_comes_late_gathers_a_window() -> None:
    layer, told = fitted(layer_of(RELAY, late=True))
    assert layer.neurons.op == OPS["integrate_window"](free=True)
    assert told["window"] is True
    assert told["held_out_after"] == 0 < told["held_out_before"]


def test_even_input_needs_no_window() -> None:
    layer, told = fitted(layer_of(RELAY, late=False))
    assert layer.neurons.op == RELAY
    assert told["window"] is False
    layer, _ = fitted(layer_of(RELAY, late=False), gate="on")
    assert layer.neurons.op == OPS["integrate_window"](free=True)


def test_a_window_must_save_a_share_of_the_error() -> None:
    layer = layer_of(RELAY, late=True)
    little = replace(layer, current=Held(layer.current.mean()[None]), target=layer.target + 0.3)
    assert fitted(little, gain=0)[1]["window"] is False
    assert fitted(layer, gain=0.99)[1]["window"] is True
    assert fitted(layer, gain=1)[1]["window"] is False


def test_layers_of_one_train_are_left_alone_unless_all_are_judged() -> None:
    layer = layer_of(RECTIFIER, late=True)
    assert fitted(layer) == (layer, {})
    assert fitted(layer, layers="all")[0].neurons.op == OPS["integrate_window"]()


def test_one_step_needs_no_window() -> None:
    layer = layer_of(RELAY, late=True, steps=1)
    assert fitted(layer, gate="on") == (layer, {})


def test_both_forms_are_judged_as_the_following_methods_fit_them() -> None:
    seen = []

    def following(layer: Layer) -> Layer:
        op = layer.neurons.op
        seen.append((op, len(layer.target)))
        return layer.with_neurons(theta=layer.neurons.theta * (100 if op.gathers else 1))

    layer, told = fitted(replace(layer_of(RELAY, late=True), following=following))
    assert seen == [(RELAY, 30), (OPS["integrate_window"](free=True), 30)]
    assert told["held_out_after"] > told["held_out_before"]
    assert layer.neurons.op == RELAY


def relays(seed: int = 0, *, chain: bool = False) -> onnx.ModelProto:
    """(N, 2, 6, 6) -> Conv -> Relu -> linear bottleneck, joined with another -> Conv -> Relu ->
    Gemm; a chain has Relus in the place of bottlenecks, and no join."""
    rng = np.random.default_rng(seed)
    weights: list[TensorProto] = []

    def conv(x: str, y: str, *shape: int) -> onnx.NodeProto:
        values = rng.normal(0, (2 / np.prod(shape[1:])) ** 0.5, shape).astype(np.float32)
        weights.append(numpy_helper.from_array(values, f"{y}.w"))
        pads = [shape[-1] // 2] * 4
        return helper.make_node("Conv", [x, f"{y}.w"], [y], y, pads=pads)

    bend = ["Relu"] if chain else ["Identity"]
    nodes = [
        conv("x", "c1", 6, 2, 3, 3), helper.make_node("Relu", ["c1"], ["a1"]),
        conv("a1", "l1", 4, 6, 1, 1), helper.make_node(bend[0], ["l1"], ["b1"]),
        conv("b1", "c2", 6, 4, 3, 3), helper.make_node("Relu", ["c2"], ["a2"]),
        conv("a2", "l2", 4, 6, 1, 1),
        helper.make_node("Relu", ["l2"], ["s"]) if chain
        else helper.make_node("Add", ["l2", "b1"], ["s"]),
        conv("s", "c3", 6, 4, 3, 3), helper.make_node("Relu", ["c3"], ["a3"]),
        conv("a3", "c4", 3, 6, 6, 6),
    ]  # fmt: skip
    nodes[-1].attribute[0].CopyFrom(helper.make_attribute("pads", [0, 0, 0, 0]))
    nodes.append(helper.make_node("Flatten", ["c4"], ["logits"]))
    graph = helper.make_graph(
        nodes,
        "relays",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", 2, 6, 6])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["N", 3])],
        weights,
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def compiled(model: onnx.ModelProto, data: np.ndarray, **options: object) -> spikec.Artifact:
    return spikec.compile(model, data, progress=False, **{"timesteps": STEPS, **options})  # type: ignore[arg-type]


def gathering(art: spikec.Artifact) -> dict[str, bool]:
    return {node.name: op.gathers for node in art.graph if isinstance(op := op_of(node), Neuron)}


SPIKES: list[dict[str, object]] = [
    {},
    {"spikes": "graded"},
    {"spikes": "graded", "payload": "integer", "payload_bits": 3},
]


@pytest.mark.parametrize("spikes", SPIKES, ids=["binary", "power2", "integer"])
def test_engines_are_equal_where_layers_with_and_without_windows_meet(
    tiny_data: np.ndarray, spikes: dict[str, object]
) -> None:
    art = compiled(relays(), tiny_data[:24], schedule="mixed", set=["mixed.gate=on"], **spikes)
    assert len(set(gathering(art).values())) == 2
    engines = ["reference", "fast", "onnx", *([] if spikes else ["c"])]
    found = art.check(tiny_data[:6], engines=engines)
    assert found["equal"], found["first_difference"]


def test_the_report_states_latency_and_how_many_layers_have_windows(tiny_data: np.ndarray) -> None:
    art = compiled(relays(), tiny_data[:24], schedule="mixed", set=["mixed.gate=on"])
    assert sum(gathering(art).values()) == 2
    assert art.report.notes[-1] == (
        "latency 3 windows of 4 steps = 12 steps, throughput one sample every 4 steps; "
        "2 of 5 layers of neurons gather a window before they fire"
    )
    assert resources(art.graph)["latency_steps"] == 12


@pytest.mark.parametrize("spikes", SPIKES, ids=["binary", "power2", "integer"])
def test_a_plain_chain_is_the_synchronous_network(
    tiny_data: np.ndarray, spikes: dict[str, object]
) -> None:
    made = {
        schedule: compiled(relays(chain=True), tiny_data[:24], schedule=schedule, **spikes)
        for schedule in ("mixed", "synchronous")
    }
    texts = {art.graph.to_text(values=True) for art in made.values()}
    assert len(texts) == 1
    assert made["mixed"].report.notes[-1] == (
        "latency 1 window of 4 steps = 4 steps, throughput one sample every 4 steps; "
        "0 of 5 layers of neurons gather a window before they fire"
    )
    assert not any("latency" in note for note in made["synchronous"].report.notes)


def test_what_cannot_be_mixed_is_refused(tiny_data: np.ndarray) -> None:
    with pytest.raises(UsageError) as refused:
        Options.of({"schedule": "mixed", "code": "radix"})
    assert refused.value.message == (
        "a radix code needs windows in all layers, and schedule=mixed has few"
    )
    assert refused.value.hint == "schedule=layerwise, or code=rate"
    with pytest.raises(UsageError) as refused:
        Options.of({"schedule": "mixed", "frames": ["x"]})
    assert refused.value.message == (
        "schedule=mixed has windows, which add up all frames before a layer fires"
    )
    assert refused.value.hint == "frames need schedule=synchronous"
    with pytest.raises(PassError, match="pass mixed: option gain must be 0 to 1, not 2"):
        parse_pipeline("mixed{gain=2}")
