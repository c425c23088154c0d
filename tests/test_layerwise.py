"""The layerwise schedule computes the quantised ANN exactly, over whole networks."""

import numpy as np
import pytest

import spikec
import spikec.backends
from spikec import driver
from spikec.demo import example
from spikec.driver.contents import resources
from spikec.ir import op_of, spread
from spikec.runtime.data import make_dataset


def quantised_ann(graph, feeds, steps):
    """The integer network without time: each activation is a clipped floor of its summed input."""
    values = {}
    for node in graph.nodes:
        inputs = [values[name] for name in node.inputs]
        if node.op == "input":
            values[node.name] = feeds[node.name].astype(np.int64) * steps
        elif node.op == "integrate_window":
            p = {r: spread(graph.array(node, r).astype(np.int64), node.type.shape)
                 for r in ("theta", "v0", "bias")}  # fmt: skip
            level = (inputs[0] + p["v0"] + steps * p["bias"]) // p["theta"]
            values[node.name] = np.clip(level, -steps if node.operation.free else 0, steps)
        elif node.op == "accumulate":
            bias = spread(graph.array(node, "bias").astype(np.int64), node.type.shape)
            values[node.name] = inputs[0] + steps * bias
        else:
            values[node.name] = op_of(node).run(inputs, graph.arrays(node))
    return values


@pytest.mark.parametrize("model", ["fashion_resnet8.onnx", "fashion_qcfs_vgg.onnx"])
@pytest.mark.parametrize("steps", [3, 4])
def test_the_network_is_the_quantised_ann_exactly(model, steps):
    with np.load(example("fashion_mnist_small.npz")) as images:
        calib, x = images["x_calib"][:24], images["x"][:40]
    art = spikec.compile(example(model), calib, timesteps=steps, schedule="layerwise")
    assert {n.op for n in art.graph if op_of(n).neuron} == {"integrate_window"}
    data = make_dataset(x, art.graph)
    for start, feeds in driver.encoded_blocks(art.graph, data):
        want = quantised_ann(art.graph, feeds, steps)
        for engine in ("reference", "fast"):
            run = spikec.backends.engine(engine)(art.graph, feeds)
            for name in art.graph.outputs:
                assert (run.readout[name][-1] == want[name]).all(), (engine, start)


def test_the_report_states_latency_and_throughput():
    with np.load(example("fashion_mnist_small.npz")) as images:
        art = spikec.compile(
            example("fashion_qcfs_vgg.onnx"), images["x_calib"][:8], timesteps=4,
            schedule="layerwise",
        )  # fmt: skip
    assert art.report.notes[-1] == (
        "latency 6 windows of 4 steps = 24 steps, throughput one sample every 4 steps; "
        "5 of 5 layers of neurons gather a window before they fire"
    )
    assert resources(art.graph)["latency_steps"] == 24
