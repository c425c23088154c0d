"""Runs an integer graph by its ONNX form in onnxruntime."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import Any

import numpy as np
from onnx import helper

from spikec.backends.onnx.net import Value, code_type
from spikec.backends.onnx.network import traced
from spikec.ir import BackendError, Graph, op_of
from spikec.ir.types import Array
from spikec.runtime.interpreter import (
    Feeds,
    Observer,
    Simulation,
    as_read,
    check_feeds,
    check_width,
    over_time,
    run_length,
)
from spikec.runtime.interpreter import simulate as reference

_ELEMENTS = 1 << 24
"""Elements of the largest value, in all steps, that are computed at a time."""


def simulate(
    graph: Graph, feeds: Feeds, steps: int | None = None, trace: Collection[str] = ()
) -> Simulation:
    """Run an integer graph; see `spikec.runtime.interpreter.simulate`.

    Raises:
        RangeError: when a current or potential leaves its width; the reference finds it.
        BackendError: when the graph has no ONNX form.
    """
    steps = run_length(graph, steps)
    check_feeds(graph, feeds, steps)
    inputs = {node.name for node in graph.inputs}
    for node in graph.inputs:
        check_width(graph, node, over_time(node, feeds, steps), None)
    layers = [n.name for n in graph.nodes if n.name in trace and op_of(n).stateful]
    observer = Observer(graph, steps, layers)
    seen = {*observer.counted, *graph.outputs} - inputs
    wanted = [n.name for n in graph.nodes if n.name in seen]
    network = traced(graph, steps, wanted, layers)
    parts = list(_run(network.model.SerializeToString(), graph, feeds, steps))
    if any(part[network.overflows].any() for part in parts if network.overflows):
        return reference(graph, feeds, steps, trace)

    def read(value: Value) -> Array:
        form = (steps if value.timed else 1, -1, *value.shape)
        return np.concatenate([part[value.name].reshape(form) for part in parts], 1, dtype=np.int64)

    values = {n.name: over_time(n, feeds, steps).astype(np.int64) for n in graph.inputs}
    values |= {name: read(value) for name, value in network.exposed.items()}
    for node in graph.nodes:
        potentials = read(network.potentials[node.name]) if node.name in layers else None
        value = values.get(node.name, potentials)
        if value is not None:
            observer.see(node, value, potentials)
    return observer.result


def _run(model: bytes, graph: Graph, feeds: Feeds, steps: int) -> Iterator[dict[str, Array]]:
    """The model's outputs by name, for some samples at a time."""
    session = session_of(model)
    types = {
        node.name: helper.tensor_dtype_to_np_dtype(code_type(node.type.dtype))
        for node in graph.inputs
    }
    outputs = [output.name for output in session.get_outputs()]
    largest = max(node.type.size for node in graph.nodes)
    block = max(1, _ELEMENTS // (largest * steps))
    cut = {node.name: as_read(node, feeds, steps) for node in graph.inputs}
    for start in range(0, check_feeds(graph, feeds), block):
        given = {name: x[start : start + block].astype(types[name]) for name, x in cut.items()}
        try:
            arrays = session.run(outputs, given)
        except Exception as error:
            raise BackendError(f"onnxruntime does not run the network: {error}") from None
        yield dict(zip(outputs, arrays, strict=True))


def session_of(model: bytes) -> Any:
    """The model in onnxruntime, on the CPU.

    Raises:
        BackendError: when onnxruntime refuses it.
    """
    import onnxruntime  # here, as it takes long and only this engine needs it

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    try:
        return onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    except Exception as error:
        raise BackendError(f"onnxruntime refuses the network: {error}") from None
