"""Attention, which a model spells out in many nodes, refused by its name."""

from __future__ import annotations

from collections.abc import Sequence

from onnx import NodeProto

from spikec.compiler.onnx.scope import Refusal, node_names

_BETWEEN = ("Cast", "Dropout", "Identity", "Reshape", "Transpose", "Squeeze", "Unsqueeze", "Where")
_REASON = "attention multiplies values that both depend on the data, which has no spiking form"
_HINT = "mix positions by convolutions or by MatMul with constant weights instead"


def named_attention(nodes: Sequence[NodeProto], refusals: list[Refusal]) -> list[Refusal]:
    """Refusals with attention first, in place of what else was said of its nodes.

    Whatever of an attention layer is refused first, such as the reshape that makes its heads, the
    layer's product of weights and values is what cannot be converted.
    """
    if not refusals:
        return refusals
    weights: set[str] = set()
    products: list[Refusal] = []
    for proto, name in zip(nodes, node_names(nodes), strict=True):
        reads = weights & set(proto.input)
        if proto.op_type == "Softmax" or (reads and proto.op_type in _BETWEEN):
            weights.update(proto.output)
        elif reads and proto.op_type == "MatMul":
            products.append(Refusal(name, proto.op_type, _REASON, _HINT))
    named = {refusal.node for refusal in products}
    return [*products, *(refusal for refusal in refusals if refusal.node not in named)]
