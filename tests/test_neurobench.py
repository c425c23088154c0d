"""Our metrics are NeuroBench's on a network that is mirrored in torch; run where it is installed.

The mirror steps through time with unit spikes, integer weights and thresholds.
"""

import dataclasses

import numpy as np
import pytest

import spikec
from spikec import driver
from spikec.runtime.coding import encode
from spikec.runtime.data import make_dataset

pytest.importorskip("neurobench")
torch = pytest.importorskip("torch")

SAMPLES, STEPS = 4, 4


class Neurons(torch.nn.Module):
    """Integrate-and-fire with soft reset."""

    def __init__(self, graph, node):
        super().__init__()
        shape = node.type.shape
        self.values = {
            role: torch.from_numpy(spikec.ir.spread(graph.array(node, role), shape).astype(float))
            for role in node.params if role != "scale"
        }  # fmt: skip
        self.start()

    def start(self):
        self.v = self.values["v0"]

    def forward(self, current):
        self.v = self.v + current + self.values.get("bias", 0)
        spikes = (self.v >= self.values["theta"]).double()
        self.v = self.v - self.values["theta"] * spikes
        return spikes


class Mirror(torch.nn.Module):
    """The integer graph as torch modules, T steps one after the other."""

    def __init__(self, graph):
        super().__init__()
        self.graph = graph
        self.layers = torch.nn.ModuleDict()
        for node in graph:
            if node.op == "conv":
                w = torch.from_numpy(graph.array(node, "w").astype(float))
                layer = torch.nn.Conv2d(w.shape[1], w.shape[0], w.shape[2:],
                                        padding=node.operation.pads[:2], bias=False)  # fmt: skip
            elif node.op == "dense":
                w = torch.from_numpy(graph.array(node, "w").astype(float))
                layer = torch.nn.Linear(w.shape[1], w.shape[0], bias=False)
            elif node.op == "integrate":
                self.layers[node.name] = Neurons(graph, node)
                continue
            else:
                continue
            layer.weight = torch.nn.Parameter(w, requires_grad=False)
            self.layers[node.name] = layer

    def forward(self, x):
        total = 0
        for layer in self.layers.values():
            if isinstance(layer, Neurons):
                layer.start()
        for _ in range(self.graph.steps):
            values = {}
            for node in self.graph:
                given = [values[name] for name in node.inputs]
                if node.op == "input":
                    values[node.name] = x
                elif node.name in self.layers:
                    values[node.name] = self.layers[node.name](given[0])
                elif node.op == "sum_pool":
                    kernel = node.operation.kernel
                    pooled = torch.nn.functional.avg_pool2d(
                        given[0], kernel, node.operation.strides
                    )
                    values[node.name] = torch.round(pooled * np.prod(kernel))
                elif node.op == "reshape":
                    values[node.name] = given[0].flatten(1)
                elif node.op == "accumulate":
                    total = total + given[0]
                else:
                    raise AssertionError(node.op)
        return total


def test_operations_and_sparsity_are_those_of_neurobench(examples, images):
    from neurobench.metrics.static import ConnectionSparsity
    from neurobench.metrics.workload import ActivationSparsity, SynapticOperations
    from neurobench.models import TorchModel

    art = spikec.compile(examples / "fashion_qcfs_vgg.onnx", calib=images["x_calib"], snm="off",
                         timesteps=STEPS, samples=32)  # fmt: skip
    data = make_dataset(images["x"][:SAMPLES], art.graph)
    ours = dataclasses.asdict(driver.evaluate(art, data).results[0])
    coded = encode(art.graph, data.feeds).feeds[art.graph.inputs[0].name]
    model = TorchModel(Mirror(art.graph))
    model.add_activation_module(Neurons)
    operations, sparsity = SynapticOperations(), ActivationSparsity()
    model.register_hooks()
    batch = torch.from_numpy(coded.astype(float))
    found = model(batch)
    theirs = operations(model, found, (batch, torch.zeros(SAMPLES)))
    idle = sparsity(model, found, (batch, torch.zeros(SAMPLES)))
    model.cleanup_hooks()
    spiking = driver.resources(art.graph)
    assert ours["effective_acs"] + ours["effective_macs"] == pytest.approx(
        float(theirs["Effective_ACs"] + theirs["Effective_MACs"])
    )
    assert ours["effective_acs"] == pytest.approx(float(theirs["Effective_ACs"]))
    assert ours["dense"] == pytest.approx(float(theirs["Dense"]))
    assert ours["activation_sparsity"] == pytest.approx(idle)
    assert round(spiking["connection_sparsity"], 4) == ConnectionSparsity()(model)
    logits = art.run(data.feeds[art.graph.inputs[0].name])
    assert (found.argmax(1).numpy() == logits.argmax(axis=1)).all()
