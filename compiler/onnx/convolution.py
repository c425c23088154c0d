"""Real-valued convolutions by onnxruntime, several times faster than by NumPy's matrix product.

Calibration evaluates layers on hundreds of samples and all time steps. Integers never come here.
"""

from __future__ import annotations

import functools
import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import onnxruntime
from onnx import TensorProto, helper

from spikec.ir import windows
from spikec.ir.types import Array
from spikec.ir.windows import Window

_OPSET, _IR = 17, 8


@contextmanager
def fast_convolutions() -> Iterator[None]:
    """Let all float32 convolutions inside the block run in onnxruntime."""
    token = windows.FLOAT_CONVOLUTION.set(_convolve)
    try:
        yield
    finally:
        windows.FLOAT_CONVOLUTION.reset(token)


def _convolve(x: Array, w: Array, window: Window, groups: int) -> Array:
    session = _session(window, groups, x.ndim)
    feeds = {"x": np.ascontiguousarray(x), "w": np.ascontiguousarray(w)}
    result: Array = session.run(None, feeds)[0]
    return result


@functools.lru_cache(maxsize=512)
def _session(window: Window, groups: int, rank: int) -> Any:
    node = helper.make_node(
        "Conv",
        ["x", "w"],
        ["y"],
        kernel_shape=window.kernel,
        strides=window.strides,
        pads=window.pads,
        dilations=window.dilations,
        group=groups,
    )
    values = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, [None] * rank) for name in "xwy"
    ]
    graph = helper.make_graph([node], "convolution", values[:2], values[2:])
    opsets = [helper.make_opsetid("", _OPSET)]
    model = helper.make_model(graph, opset_imports=opsets, ir_version=_IR)
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    options.intra_op_num_threads = _cores()
    options.enable_cpu_mem_arena = False  # each geometry's session would keep its largest values
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    return onnxruntime.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )


def _cores() -> int:
    affinity = getattr(os, "sched_getaffinity", None)
    return len(affinity(0)) if affinity is not None else os.cpu_count() or 1
