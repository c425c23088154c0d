"""The ANN itself, run by onnxruntime: what every spiking result is compared with."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import onnx
import onnxruntime
from numpy.typing import NDArray

from spikec.compiler.onnx.importer import import_model
from spikec.compiler.onnx.loader import expose, load_model, model_hash
from spikec.compiler.pipeline import Progress
from spikec.ir import Graph
from spikec.runtime.interpreter import forward

Array = NDArray[Any]
_BLOCK = 32


@dataclass(frozen=True, slots=True)
class Ann:
    """A model ready to run.

    Attributes:
        graph: Its import; inputs are fed under the names of its input nodes.
        digest: SHA-256 of the model.
        session: onnxruntime's, or None where it cannot load the model.
        outputs: ONNX names of the values behind cut-off tails.
        batch: The fixed batch size of the model, 0 if any.
        refused: Why onnxruntime could not run it, so that the import ran instead.
    """

    graph: Graph
    digest: str
    session: Any
    outputs: list[str]
    batch: int
    refused: list[str] = field(default_factory=list)

    @staticmethod
    def load(model: Any) -> Ann:
        """Import a model and open it in onnxruntime; raises SpikecError if it is not supported."""
        proto, source = load_model(model)
        imported = import_model(proto, source)
        graph = imported.require()
        names = {node.loc for node in graph.inputs}
        dims = [i.type.tensor_type.shape.dim for i in proto.graph.input if i.name in names]
        batch = max((d[0].dim_value for d in dims if len(d)), default=0)
        refused: list[str] = []
        session = _session(proto, imported.logits, refused)
        return Ann(graph, model_hash(proto), session, imported.logits, batch, refused)

    def logits(
        self, feeds: Mapping[str, Array], progress: Progress = lambda what, done, total: None
    ) -> Array:
        """Outputs (N, values), float; several outputs side by side."""
        total = len(next(iter(feeds.values())))
        block = self.batch or _BLOCK
        parts = []
        for start in range(0, total, block):
            part = {name: x[start : start + block] for name, x in feeds.items()}
            parts.append(self._block(part, block if self.batch else 0))
            progress("run the ANN", min(start + block, total), total)
        return np.concatenate(parts)

    def _block(self, feeds: Mapping[str, Array], fill: int) -> Array:
        count = len(next(iter(feeds.values())))
        found = None if self.session is None else self._by_onnxruntime(feeds, fill)
        if found is None:
            values = forward(self.graph, feeds)
            found = [values[name] for name in self.graph.outputs]
        if self.batch == 1:  # the batch axis may stand anywhere, or be gone
            return np.concatenate([np.asarray(v).reshape(1, -1) for v in found], axis=1)
        return np.concatenate([np.asarray(v)[:count].reshape(count, -1) for v in found], axis=1)

    def _by_onnxruntime(self, feeds: Mapping[str, Array], fill: int) -> list[Array] | None:
        """The outputs, or None where onnxruntime cannot execute the model."""
        named = {i.name: i.type for i in self.session.get_inputs()}
        given = {}
        for node in self.graph.inputs:
            x = np.asarray(feeds[node.name])
            if fill > len(x):
                x = np.concatenate([x, np.repeat(x[-1:], fill - len(x), axis=0)])
            label = node.loc or node.name
            given[label] = x.astype(_DTYPES.get(named[label], np.float32))
        try:
            return list(self.session.run(self.outputs, given))
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


def _session(proto: onnx.ModelProto, logits: list[str], refused: list[str]) -> Any:
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
