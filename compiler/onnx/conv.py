"""Conv."""

from spikec.compiler.onnx.importer import OnnxNode, Tensor, lowers
from spikec.compiler.onnx.window import window_attrs


@lowers("Conv")
def conv(node: OnnxNode) -> Tensor:
    """Convolution with any strides, pads, dilations and groups."""
    x, w = node.tensor(0), node.weights(1)
    if w.ndim < 3 or len(x.shape) != w.ndim - 1:
        node.refuse(f"weights of rank {w.ndim} do not fit an input of rank {len(x.shape) + 1}")
    kernel = node.attr("kernel_shape", w.shape[2:])
    if tuple(kernel) != w.shape[2:]:
        node.refuse(f"kernel_shape {list(kernel)} contradicts the weights {list(w.shape)}")
    attrs = window_attrs(node, x.shape[1:], w.shape[2:])
    params = {"w": w} | ({"b": node.weights(2)} if node.has(2) else {})
    return node.emit("conv", [x], {**attrs, "groups": int(node.attr("group", 1))}, params)
