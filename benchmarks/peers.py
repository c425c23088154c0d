"""The same integer network in other simulators, for their speed alone."""

from __future__ import annotations

import importlib.util
import time
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from spikec.backends import BACKENDS, Engine
from spikec.ir import Graph, Node, op_of, spread


def spikingjelly(graph: Graph, feeds: Mapping[str, Any], steps: int) -> Callable[[], Any] | None:
    """All steps in SpikingJelly's multi-step mode on one thread; None where it is not installed.

    Convolutions run on steps and samples together, neurons are its IFNode with soft reset, in its
    scalar form (no per-channel thresholds): its cost does not depend on the values.
    """
    if not all(importlib.util.find_spec(name) for name in ("torch", "spikingjelly")):
        return None
    import torch
    from spikingjelly.activation_based import functional, neuron

    torch.set_num_threads(1)
    nodes = {}
    for node in graph.nodes:
        if op_of(node).neuron:
            nodes[node.name] = neuron.IFNode(v_threshold=100.0, v_reset=None, step_mode="m")
    params = {
        node.name: torch.from_numpy(graph.array(node, "w").astype(np.float32))
        for node in graph.nodes
        if "w" in node.params
    }

    def value(node: Node, inputs: list[Any]) -> Any:
        if node.op == "input":
            x = torch.from_numpy(feeds[node.name].astype(np.float32))
            return x.unsqueeze(0).repeat(steps, *(1,) * x.dim())
        if node.name in nodes:
            return nodes[node.name](inputs[0])
        if node.op == "add":
            return sum(inputs[1:], inputs[0])
        if node.op == "accumulate":
            return inputs[0].cumsum(0)
        flat = inputs[0].flatten(0, 1)
        return _stateless(torch, node, params.get(node.name), flat).unflatten(0, (steps, -1))

    def run() -> Any:
        with torch.no_grad():
            values: dict[str, Any] = {}
            for node in graph.nodes:
                values[node.name] = value(node, [values[name] for name in node.inputs])
            for each in nodes.values():
                functional.reset_net(each)
            return values[graph.outputs[0]]

    return run


def _stateless(torch: Any, node: Node, w: Any, x: Any) -> Any:
    attrs: Mapping[str, Any] = node.operation.attributes()
    if node.op == "conv":
        rank = w.dim() - 2
        how = (attrs["strides"], attrs["pads"][:rank], attrs["dilations"], attrs["groups"])
        return (torch.conv2d if rank == 2 else torch.conv1d)(x, w, None, *how)
    if node.op == "dense":
        return torch.nn.functional.linear(x, w)
    if node.op == "affine":
        return x * torch.from_numpy(spread(w.numpy(), node.type.shape).copy())
    if node.op == "reshape":
        return x.reshape(len(x), *attrs["shape"])
    pool = torch.nn.functional.max_pool2d
    if node.op == "sum_pool":
        size = float(np.prod(attrs["kernel"]))
        return torch.nn.functional.avg_pool2d(x, attrs["kernel"], attrs["strides"]) * size
    return pool(x, attrs["kernel"], attrs["strides"])


def lava(graph: Graph, feeds: Mapping[str, Any], steps: int) -> float | None:
    """Milliseconds of one sample in Lava's CPU simulation; None where it cannot run."""
    backend = BACKENDS["lava"]()
    if not isinstance(backend, Engine) or backend.unavailable() is not None:
        return None
    start = time.perf_counter()
    backend.simulate(graph, feeds, steps, ())
    return 1e3 * (time.perf_counter() - start)
