"""Networks that were trained with quantisation, or quantised after it, are exact in integers."""

from pathlib import Path

import numpy as np
import pytest
from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static
from onnxruntime.quantization.shape_inference import quant_pre_process

import spikec
from spikec.demo import example
from spikec.driver.inspecting import inspect
from spikec.driver.levels import notes_of_levels
from spikec.driver.losses import deviation
from spikec.driver.model import Model
from spikec.ir import F32, Graph, Node, TensorType, op_of
from spikec.ir.ops.activations.qcfs import Qcfs
from spikec.ir.ops.activations.quantize import Quantize
from spikec.options import Options

DATA = Path(__file__).parent / "onnx" / "data"


@pytest.fixture(scope="module")
def images():
    with np.load(example("fashion_mnist_small.npz")) as found:
        return found["x_calib"].astype(np.float32), found["x"][:150].astype(np.float32)


def compare(model, images, **options):
    """Relative error and class agreement of the integers with the model itself."""
    calib, x = images
    ann = Model.load(model)
    art = spikec.compile(ann, calib[:128], samples=128, progress=False, **options)
    wanted = ann.logits({ann.graph.inputs[0].name: x})
    found = np.asarray(art.run(x)).reshape(wanted.shape)
    same = (found.argmax(axis=1) == wanted.argmax(axis=1)).mean()
    return deviation(found, wanted), same, art


def quantised(path, images, **options):
    """An onnxruntime-quantised copy of the small residual network."""

    source, ready, made = example("fashion_resnet8.onnx"), path / "ready.onnx", path / "q.onnx"
    name = Model.load(source).graph.inputs[0].loc
    rows = iter(images[0][:64, None])

    class Reader(CalibrationDataReader):
        def get_next(self):
            row = next(rows, None)
            return None if row is None else {name: row}

    quant_pre_process(str(source), str(ready), skip_symbolic_shape=True)
    quantize_static(str(ready), str(made), Reader(), **options)
    return made


def test_a_network_trained_with_levels_is_exact_in_its_window(images):
    """But for its weights, which were not trained for 8 bits."""
    path, (_, x) = example("fashion_qcfs_vgg.onnx"), images
    error, same, art = compare(path, images, timesteps=4, schedule="layerwise")
    wanted = Model.load(path).logits({art.graph.inputs[0].name: x})
    real = np.asarray(art.run(x, stage="float")).reshape(wanted.shape)
    assert deviation(real, wanted) < 0.01
    assert (real.argmax(axis=1) == wanted.argmax(axis=1)).mean() > 0.99
    assert (error < 0.15, same > 0.95) == (True, True)


@pytest.mark.parametrize(
    "options",
    [
        {"quant_format": QuantFormat.QDQ},
        {"quant_format": QuantFormat.QDQ, "activation_type": QuantType.QUInt8, "per_channel": True},
        {"quant_format": QuantFormat.QOperator},
    ],
    ids=["qdq", "per_channel", "qoperator"],
)
def test_eight_bits_are_exact_in_one_step_of_integer_payloads(options, images, tmp_path):
    model = quantised(tmp_path, images, weight_type=QuantType.QInt8, **options)
    error, same, art = compare(
        model, images, timesteps=1, spikes="graded", payload="integer", payload_bits=8
    )
    assert spiking_layers(art.graph) <= quantised_activations(Model.load(model).graph)
    # Averages of four pixels lie in the middle between two levels now and then, where onnxruntime
    # rounds to the even one and a neuron fires; all else is equal.
    assert same >= 0.97
    assert error <= 0.06


def quantised_activations(ann):
    return sum(isinstance(node.operation, Qcfs | Quantize) for node in ann)


def spiking_layers(graph):
    return sum(op_of(node).neuron for node in graph)


@pytest.mark.parametrize("kind", ["brevitas_qcdq", "brevitas_qonnx"])
@pytest.mark.parametrize(
    ("options", "exact"),
    [
        ({"timesteps": 15, "schedule": "layerwise"}, True),
        ({"timesteps": 4, "code": "radix"}, True),
        ({"timesteps": 8, "code": "radix"}, False),
    ],
    ids=["window", "digits", "more digits"],
)
def test_brevitas_has_no_neurons_but_its_quantisers(kind, options, exact):
    """Nor one for that of its input, which is the input's code, whatever spikes count."""
    ann = Model.load(DATA / f"{kind}.onnx")
    x = np.random.default_rng(0).uniform(0, 1, (100, 1, 28, 28)).astype(np.float32)
    art = spikec.compile(ann, x, progress=False, **options)
    assert spiking_layers(art.graph) == quantised_activations(ann.graph) - 1 == 2
    wanted = ann.logits({ann.graph.inputs[0].name: x})
    if exact:
        assert deviation(art.run(x).reshape(wanted.shape), wanted) < 0.005


QCFS_NOTE = (
    "the model was trained with 4 levels (5 of 5 activations), and spikes count {} in T = {}; "
    "exact is --timesteps 4 --schedule layerwise"
)


@pytest.mark.parametrize(("steps", "noted"), [(8, True), (4, False)])
def test_other_levels_than_trained_with_are_noted(steps, noted, images):
    path = example("fashion_qcfs_vgg.onnx")
    art = spikec.compile(path, images[0][:16], timesteps=steps, progress=False, reconstruct="off")
    inspected = inspect(path, Options(timesteps=steps))["notes"]
    for notes in (art.report.notes, inspected):
        assert (QCFS_NOTE.format(steps, steps) in notes) == noted


def test_what_counts_as_many_levels():
    """A few levels by steps, digits or payloads; many by digits or payloads."""

    def text(levels):
        node = Node("q", Qcfs(levels), ("x",), TensorType(F32, (1,)))
        (note,) = notes_of_levels(Graph("g", "ann", 0, (node,), ("q",), {}), 2, 2)
        return note[note.index("(") :]

    payload = "--timesteps 1 --spikes graded --payload integer --payload-bits"
    assert text(4) == ("(1 of 1 activations), and spikes count 2 in T = 2; "
                       "exact is --timesteps 4 --schedule layerwise")  # fmt: skip
    assert text(15).endswith("exact is --timesteps 15 --schedule layerwise or --timesteps 4 --code "
                             f"radix or {payload} 4")  # fmt: skip
    assert text(255).endswith(f"exact is --timesteps 8 --code radix or {payload} 8")
    assert text(100).endswith("exact is --timesteps 100 --schedule layerwise")
