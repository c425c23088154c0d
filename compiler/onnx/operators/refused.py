"""Operators that are known and cannot be converted, each with its reason and what would help."""

from __future__ import annotations

from spikec.compiler.onnx.node import OnnxNode
from spikec.compiler.onnx.operators import lowers
from spikec.compiler.onnx.values import Tensor

_STATISTICS = (
    "it divides by statistics of the data, which no sum of spikes gives",
    "train with BatchNormalization, whose statistics are constants",
)
_RECURRENT = ("it carries state from step to step", "only feed-forward networks are converted")
_CONTROL = ("control flow that depends on the data", "export with fixed shapes and tracing")
_PRODUCTS = (
    "a product of two values that both depend on the data has no spiking form",
    "attention and other data-by-data products cannot be converted",
)
_COMPARED = ("it compares or rounds values that depend on the data", "use Relu, Clip, Max or Min")
_RANDOM = ("it is random", "export the model in evaluation mode")

_REASONS: dict[tuple[str, ...], tuple[str, str]] = {
    ("LRN", "LpNormalization", "MeanVarianceNormalization"): _STATISTICS,
    ("LayerNormalization", "InstanceNormalization", "GroupNormalization"): _STATISTICS,
    ("RMSNormalization", "LpPool", "GlobalLpPool", "ReduceL2", "ReduceL1"): _STATISTICS,
    ("ReduceLogSum", "ReduceLogSumExp", "ReduceSumSquare", "ReduceProd"): _STATISTICS,
    ("LSTM", "GRU", "RNN"): _RECURRENT,
    ("If", "Loop", "Scan"): _CONTROL,
    ("Attention", "Einsum", "RotaryEmbedding"): _PRODUCTS,
    ("Greater", "GreaterOrEqual", "Less", "LessOrEqual", "Equal"): _COMPARED,
    ("And", "Or", "Not", "Xor", "NonZero", "Mod"): _COMPARED,
    ("RandomNormalLike", "RandomUniformLike", "Bernoulli", "Multinomial"): _RANDOM,
}


def _refuses(op_types: tuple[str, ...], reason: str, hint: str) -> None:
    @lowers(*op_types, integers="read")
    def refuse(node: OnnxNode) -> Tensor:
        node.refuse(reason, hint)


for _op_types, (_reason, _hint) in _REASONS.items():
    _refuses(_op_types, _reason, _hint)
