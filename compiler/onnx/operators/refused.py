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
_CONTROL = (
    "control flow that depends on the data",
    "export with fixed shapes, or give them: `--shape INPUT=1,3,224,224`",
)
_ATTENTION = (
    "attention multiplies values that both depend on the data, which has no spiking form",
    "mix positions by convolutions or by MatMul with constant weights instead",
)
_PRODUCTS = (
    "it multiplies values that both depend on the data, which has no spiking form",
    "use constant factors; docs/products.md says why, and what else can be done",
)
_TRUTH = (
    "it computes with truth values that depend on the data, which spikes do not carry",
    "use Relu, Clip, Max or Min, or leave the decision to whoever reads the outputs",
)
_ONE_HOT = ("it turns indices of the data into vectors", "feed the one-hot vectors as input")
_BOXES = (
    "it chooses among boxes by values that depend on the data",
    "export the network up to its boxes and scores",
)
_COMPARED = ("it compares or rounds values that depend on the data", "use Relu, Clip, Max or Min")
_RANDOM = ("it is random", "export the model in evaluation mode")

RANDOM = (
    *("RandomNormalLike", "RandomUniformLike", "Bernoulli", "Multinomial"),
    *("RandomNormal", "RandomUniform"),
)
_REASONS: dict[tuple[str, ...], tuple[str, str]] = {
    ("LRN", "MeanVarianceNormalization"): _STATISTICS,
    ("LayerNormalization", "InstanceNormalization", "GroupNormalization"): _STATISTICS,
    ("RMSNormalization", "LpPool", "GlobalLpPool", "ReduceProd"): _STATISTICS,
    ("LSTM", "GRU", "RNN"): _RECURRENT,
    ("If", "Loop", "Scan"): _CONTROL,
    ("RotaryEmbedding",): _PRODUCTS,
    ("Attention", "MultiHeadAttention", "GroupQueryAttention"): _ATTENTION,
    ("Greater", "GreaterOrEqual", "Less", "LessOrEqual", "Equal"): _COMPARED,
    ("NonZero", "Mod"): _COMPARED,
    ("And", "Or", "Not", "Xor", "IsNaN", "IsInf"): _TRUTH,
    ("OneHot",): _ONE_HOT,
    ("NonMaxSuppression", "RoiAlign", "MaxRoiPool"): _BOXES,
    RANDOM: _RANDOM,
}


_MICROSOFT: dict[tuple[str, ...], tuple[str, str]] = {
    ("Attention", "MultiHeadAttention", "GroupQueryAttention", "QAttention"): _ATTENTION,
    ("SkipLayerNormalization", "SimplifiedLayerNormalization", "GroupNorm"): _STATISTICS,
    ("EmbedLayerNormalization",): _STATISTICS,
}


def _refuses(domain: str, op_types: tuple[str, ...], reason: str, hint: str) -> None:
    @lowers(*op_types, domain=domain, integers="read", layouts="read")
    def refuse(node: OnnxNode) -> Tensor:
        node.refuse(reason, hint)


for _domain, _reasons in (("", _REASONS), ("com.microsoft", _MICROSOFT)):
    for _op_types, (_reason, _hint) in _reasons.items():
        _refuses(_domain, _op_types, _reason, _hint)
