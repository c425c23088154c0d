"""A feed-forward ONNX network as a traceable torch module, for tools that convert torch modules."""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Any

import numpy as np
import onnx
import onnxruntime
from numpy.typing import NDArray
from onnx import numpy_helper

Array = NDArray[Any]


class Unsupported(Exception):
    """The network holds something that has no layer here."""


def torch_module(model: onnx.ModelProto, x: Array) -> Any:
    """The network as a `torch.fx.GraphModule` of plain layers; its outputs on `x` are checked.

    Raises:
        Unsupported: with the operator that has no layer, or where outputs differ from onnxruntime.
    """
    import torch

    module = _Builder(model).build()
    session = onnxruntime.InferenceSession(model.SerializeToString())
    (expected,) = session.run(None, {session.get_inputs()[0].name: x.astype(np.float32)})
    with torch.no_grad():
        found = module(torch.from_numpy(x.astype(np.float32))).numpy()
    error = np.abs(found - expected).max() / np.abs(expected).max()
    if error > 1e-4:
        raise Unsupported(f"the torch module differs from onnxruntime by {error:.1e}")
    return module


class _Builder:
    """Builds a graph of layers, node by node."""

    def __init__(self, model: onnx.ModelProto) -> None:
        import torch

        self.nn = torch.nn
        self.fx = torch.fx
        self.tensor = torch.from_numpy
        self.model = model.graph
        self.constants = {t.name: numpy_helper.to_array(t) for t in model.graph.initializer}
        self.graph = torch.fx.Graph()
        self.root = torch.nn.Module()
        self.values: dict[str, Any] = {}

    def build(self) -> Any:
        inputs = [i.name for i in self.model.input if i.name not in self.constants]
        if len(inputs) != 1 or len(self.model.output) != 1:
            raise Unsupported("the network has several inputs or outputs")
        self.values[inputs[0]] = self.graph.placeholder("x")
        for index, node in enumerate(self.model.node):
            self._node(index, node)
        self.graph.output(self.values[self.model.output[0].name])
        return self.fx.GraphModule(self.root, self.graph).eval()

    def _node(self, index: int, node: onnx.NodeProto) -> None:
        attrs = {a.name: onnx.helper.get_attribute_value(a) for a in node.attribute}
        first = node.input[0] if node.input else ""
        if node.op_type == "Constant" and "value" in attrs:
            self.constants[node.output[0]] = numpy_helper.to_array(attrs["value"])
        elif node.op_type in ("Identity", "Dropout"):
            known = self.constants if first in self.constants else self.values
            known[node.output[0]] = known[first]
        elif node.op_type == "Add" and all(name in self.values for name in node.input):
            args = tuple(self.values[name] for name in node.input)
            self.values[node.output[0]] = self.graph.call_function(operator.add, args)
        else:
            make: Callable[..., Any] | None = getattr(self, f"_{node.op_type.lower()}", None)
            if make is None or first not in self.values:
                raise Unsupported(f"operator {node.op_type} has no torch layer here")
            try:
                params = [self.constants[name] for name in node.input[1:] if name]
            except KeyError:
                raise Unsupported(f"{node.op_type} has a weight that is not constant") from None
            name = f"{node.op_type.lower()}_{index}"
            self.root.add_module(name, make(attrs, *params))
            self.values[node.output[0]] = self.graph.call_module(name, (self.values[first],))

    def _conv(self, attrs: dict[str, Any], w: Array, b: Array | None = None) -> Any:
        if w.ndim != 4:
            raise Unsupported("only convolutions in two dimensions have a torch layer here")
        groups = attrs.get("group", 1)
        layer = self.nn.Conv2d(
            w.shape[1] * groups,
            w.shape[0],
            w.shape[2:],
            stride=tuple(attrs.get("strides", (1, 1))),
            padding=_padding(attrs),
            dilation=tuple(attrs.get("dilations", (1, 1))),
            groups=groups,
            bias=b is not None,
        )
        return self._filled(layer, weight=w, bias=b)

    def _batchnormalization(
        self, attrs: dict[str, Any], w: Array, b: Array, mean: Array, var: Array
    ) -> Any:
        layer = self.nn.BatchNorm2d(len(w), eps=attrs.get("epsilon", 1e-5))
        return self._filled(layer, weight=w, bias=b, running_mean=mean, running_var=var)

    def _sub(self, attrs: dict[str, Any], offset: Array) -> Any:
        return self._by_channel(np.ones_like(offset), -offset)

    def _div(self, attrs: dict[str, Any], divisor: Array) -> Any:
        return self._by_channel(1 / divisor, np.zeros_like(divisor))

    def _by_channel(self, factor: Array, offset: Array) -> Any:
        """`factor x + offset`, as inputs are normalised."""
        if factor.ndim < 3 or factor.size != factor.shape[-3]:
            raise Unsupported("only constants per channel have a torch layer here")
        none, one = np.zeros(factor.size), np.ones(factor.size)
        layer = self.nn.BatchNorm2d(factor.size, eps=0.0)
        weight, bias = factor.reshape(-1), offset.reshape(-1)
        return self._filled(layer, weight=weight, bias=bias, running_mean=none, running_var=one)

    def _gemm(self, attrs: dict[str, Any], w: Array, b: Array | None = None) -> Any:
        scaled = w * np.float32(attrs.get("alpha", 1.0))
        if attrs.get("transA"):
            raise Unsupported("Gemm with a transposed input has no torch layer here")
        bias = None if b is None else b * np.float32(attrs.get("beta", 1.0))
        return self._linear(scaled if attrs.get("transB") else scaled.T, bias)

    def _matmul(self, attrs: dict[str, Any], w: Array) -> Any:
        return self._linear(w.T, None)

    def _linear(self, w: Array, b: Array | None) -> Any:
        layer = self.nn.Linear(w.shape[1], w.shape[0], bias=b is not None)
        return self._filled(layer, weight=w, bias=None if b is None else b.reshape(-1))

    def _filled(self, layer: Any, **params: Array | None) -> Any:
        given = {name: p for name, p in params.items() if p is not None}
        state = {name: self.tensor(np.array(p, np.float32)) for name, p in given.items()}
        layer.load_state_dict(state, strict=False)
        return layer

    def _relu(self, attrs: dict[str, Any]) -> Any:
        return self.nn.ReLU()

    def _maxpool(self, attrs: dict[str, Any]) -> Any:
        return self.nn.MaxPool2d(**_window(attrs), dilation=tuple(attrs.get("dilations", (1, 1))))

    def _averagepool(self, attrs: dict[str, Any]) -> Any:
        padded = bool(attrs.get("count_include_pad", 0))
        return self.nn.AvgPool2d(**_window(attrs), count_include_pad=padded)

    def _globalaveragepool(self, attrs: dict[str, Any]) -> Any:
        return self.nn.AdaptiveAvgPool2d(1)

    def _flatten(self, attrs: dict[str, Any]) -> Any:
        if attrs.get("axis", 1) != 1:
            raise Unsupported("Flatten along another axis than 1 has no torch layer here")
        return self.nn.Flatten()

    def _reshape(self, attrs: dict[str, Any], shape: Array) -> Any:
        if len(shape) != 2 or shape[1] == 0 or ((shape > 0).all() and shape[0] != 1):
            raise Unsupported("Reshape to anything but (N, values) has no torch layer here")
        return self.nn.Flatten()


def _padding(attrs: dict[str, Any]) -> tuple[int, ...]:
    pads = list(attrs.get("pads", (0, 0, 0, 0)))
    half = len(pads) // 2
    auto = attrs.get("auto_pad", b"NOTSET")
    if pads[:half] != pads[half:] or auto not in (b"NOTSET", b"VALID"):
        raise Unsupported("padding that differs between two sides has no torch layer here")
    return tuple(pads[:half])


def _window(attrs: dict[str, Any]) -> dict[str, Any]:
    kernel = tuple(attrs["kernel_shape"])
    return {
        "kernel_size": kernel,
        "stride": tuple(attrs.get("strides", (1,) * len(kernel))),
        "padding": _padding(attrs),
        "ceil_mode": bool(attrs.get("ceil_mode", 0)),
    }
