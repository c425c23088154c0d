"""Gemm and MatMul."""

from spikec.compiler.onnx.importer import OnnxNode, Tensor, lowers


@lowers("Gemm")
def gemm(node: OnnxNode) -> Tensor:
    """`alpha * A B + beta * C` with data as A."""
    x, w = node.tensor(0), node.weights(1)
    if node.attr("transA", 0):
        node.refuse("transA mixes samples of a batch")
    w = w if node.attr("transB", 0) else w.T
    if w.ndim != 2 or x.shape != w.shape[1:]:
        node.refuse(f"weights {list(w.shape)} do not fit an input of shape {list(x.shape)}")
    params = {"w": w * float(node.attr("alpha", 1.0))}
    if node.has(2):
        bias = node.weights(2) * float(node.attr("beta", 1.0))
        if bias.size not in (1, w.shape[0]):
            node.refuse(f"bias of shape {list(bias.shape)} does not fit {w.shape[0]} outputs")
        params["b"] = bias.reshape(-1).repeat(w.shape[0] if bias.size == 1 else 1)
        params["b"] = params["b"][: w.shape[0]]
    return node.emit("dense", [x], params=params)


@lowers("MatMul")
def matmul(node: OnnxNode) -> Tensor:
    """A matrix product of data with constant weights."""
    if not node.is_constant(1):
        node.refuse(
            "a product of two values that both depend on the data has no spiking form",
            "attention and other data-by-data products cannot be converted",
        )
    x, w = node.tensor(0), node.weights(1)
    if w.ndim != 2 or x.shape != w.shape[:1]:
        node.refuse(f"weights {list(w.shape)} do not fit an input of shape {list(x.shape)}")
    return node.emit("dense", [x], params={"w": w.T})
