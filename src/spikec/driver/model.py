"""An ONNX model, read once and passed down: its graph, and the ANN that onnxruntime runs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

import numpy as np

from spikec.compiler.onnx import Imported, expose, import_model, load_model, model_hash
from spikec.compiler.pipeline import Progress
from spikec.driver.blocks import quiet
from spikec.driver.frames import with_frames
from spikec.driver.measures import Output, outputs_of
from spikec.driver.torch_module import TorchModule, export, is_module
from spikec.ir import Graph
from spikec.ir.types import Array
from spikec.options import Metric
from spikec.runtime.estimate import forward_pass
from spikec.runtime.interpreter import forward, without_time
from spikec.runtime.memory import MORE_MEMORY, fitting

if TYPE_CHECKING:
    from onnx import ModelProto
    from onnxruntime import InferenceSession

_BLOCK, _ROOM = 32, 1 << 28
"""Samples, and bytes, that the ANN takes at a time: larger blocks are not quicker."""


ModelSource: TypeAlias = "str | Path | bytes | ModelProto | TorchModule | Model"
"""What a model can be given as."""


@dataclass(eq=False)
class Model:
    """An ONNX model: read, checked and imported; hashed and opened in onnxruntime when needed.

    Attributes:
        proto: The model, its external data loaded.
        source: Its file name, if it came from a file.
        imported: Its graph, or what stands against one.
        refused: Why onnxruntime could not run it, so that the import ran instead.
    """

    proto: ModelProto
    source: str | None
    imported: Imported
    refused: list[str] = field(default_factory=list)

    @staticmethod
    def load(
        model: ModelSource,
        sample: Sequence[Array] | None = None,
        shapes: Mapping[str, Sequence[int]] | None = None,
        frames: Sequence[str] = (),
    ) -> Model:
        """Read a model; one that is read already is returned as it is.

        Args:
            model: Path, bytes, onnx.ModelProto or torch.nn.Module.
            sample: Of a module its inputs, with a batch axis of 1: what it is exported with.
            shapes: Shapes of inputs whose sizes the model leaves open, by name, the batch first.
            frames: Inputs whose data have a frame for each step.

        Raises:
            InvalidModel: when it cannot be read, exported, or breaks ONNX's rules.
            UsageError: for frames of an input that there is not.
        """
        if isinstance(model, Model):
            return model
        proto, source = load_model(export(model, sample) if is_module(model) else model, shapes)
        imported = import_model(proto, source)
        if imported.graph is not None:
            imported.graph = with_frames(imported.graph, frames)
        return Model(proto, source, imported)

    @cached_property
    def graph(self) -> Graph:
        """The graph of stage ann; raises UnsupportedOperator listing every refused node.

        Inputs are fed under the names of its input nodes.
        """
        return self.imported.require()

    @cached_property
    def digest(self) -> str:
        """SHA-256 of the model with its weights."""
        return model_hash(self.proto)

    @cached_property
    def session(self) -> InferenceSession | None:
        """The ANN in onnxruntime, or None where it cannot load the model."""
        return _session(self.proto, self.imported.logits, self.refused)

    @cached_property
    def batch(self) -> int:
        """The fixed batch size of the model, 0 if any."""
        if not self.imported.has_batch:
            return 1
        names = {node.loc for node in self.graph.inputs}
        dims = [i.type.tensor_type.shape.dim for i in self.proto.graph.input if i.name in names]
        return max((d[0].dim_value for d in dims if len(d) and d[0].dim_value > 0), default=0)

    def outputs(self, metrics: Mapping[str, Metric]) -> list[Output]:
        """Its outputs, and how each is judged: as stated, or as its last operation tells."""
        imported = self.imported
        return outputs_of(self.graph, imported.logits, metrics, self.graph, imported.class_axes)

    def logits(self, feeds: Mapping[str, Array], progress: Progress = quiet) -> Array:
        """The ANN's outputs (N, values), float; several outputs side by side."""
        total = len(next(iter(feeds.values())))
        block = self.batch or self._fitting()
        parts = []
        for start in range(0, total, block):
            part = {name: x[start : start + block] for name, x in feeds.items()}
            parts.append(self._block(part, block if self.batch else 0))
            progress("run the ANN", min(start + block, total), total)
        return np.concatenate(parts)

    def _fitting(self) -> int:
        """Samples that the ANN takes at a time; raises OutOfMemory when not even one fits."""
        need = forward_pass(self.graph)
        return fitting(_BLOCK, need.fixed, need.per_sample, "the ANN", MORE_MEMORY, _ROOM)

    def _block(self, feeds: Mapping[str, Array], fill: int) -> Array:
        count = len(next(iter(feeds.values())))
        outputs = None if self.refused else self._by_onnxruntime(feeds, fill)
        if outputs is None:
            values = forward(self.graph, feeds)
            outputs = [values[name] for name in self.graph.outputs]
        if self.batch == 1:  # the batch axis may stand anywhere, or be gone
            return np.concatenate([np.asarray(v).reshape(1, -1) for v in outputs], axis=1)
        return np.concatenate([np.asarray(v)[:count].reshape(count, -1) for v in outputs], axis=1)

    def _by_onnxruntime(self, feeds: Mapping[str, Array], fill: int) -> list[Array] | None:
        """The outputs, or None where onnxruntime cannot execute the model."""
        if self.session is None:
            return None
        named = {i.name: i.type for i in self.session.get_inputs()}
        given = {}
        for node in self.graph.inputs:
            x = without_time(node, feeds)
            if fill > len(x):
                x = np.concatenate([x, np.repeat(x[-1:], fill - len(x), axis=0)])
            label = node.loc or node.name
            x = x.astype(_DTYPES.get(named[label], np.float32))
            given[label] = x if self.imported.has_batch else x[0]
        try:
            return list(self.session.run(self.imported.logits, given))
        except Exception as error:  # some models load but hold operators that it cannot run
            self.refused[:] = [_first_line(error)]
            return None


_DTYPES = {
    "tensor(float)": np.float32,
    "tensor(double)": np.float64,
    "tensor(float16)": np.float16,
    "tensor(uint8)": np.uint8,
    "tensor(int8)": np.int8,
    "tensor(int64)": np.int64,
}
_QUANTISED = {"QuantizeLinear", "DequantizeLinear", "QLinearConv", "QLinearMatMul", "QGemm"}


def _first_line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]


def _session(proto: ModelProto, logits: list[str], refused: list[str]) -> InferenceSession | None:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    if any(node.op_type in _QUANTISED for node in proto.graph.node):
        # Its fused integer kernels round differently from the operators that the model names.
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    try:
        return onnxruntime.InferenceSession(
            expose(proto, logits).SerializeToString(), options, providers=["CPUExecutionProvider"]
        )
    except Exception as error:  # onnxruntime raises its own kinds for models that it cannot run
        refused.append(_first_line(error))
        return None
