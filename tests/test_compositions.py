"""Random networks of all kinds of operators: compiled and close, or refused before calibration."""

from __future__ import annotations

import math
import os
from collections.abc import Callable

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

import spikec
from spikec.driver.inspecting import try_out
from spikec.driver.model import Model
from spikec.ir import SpikecError
from spikec.options import Options

SEEDS = int(os.environ.get("SPIKEC_COMPOSITIONS", "12"))
STEPS = 16
LARGEST = 600
"""Elements of a value that grows no further."""
Shape = tuple[int, ...]
CURVES = {
    "Sigmoid": {}, "Tanh": {}, "Elu": {}, "Selu": {}, "Softplus": {}, "HardSwish": {},
    "HardSigmoid": {}, "Erf": {}, "Celu": {}, "Softsign": {}, "Relu": {},
    "LeakyRelu": {"alpha": 0.1}, "Abs": {}, "ThresholdedRelu": {"alpha": 0.2},
}  # fmt: skip


class Composer:
    """An ONNX graph that grows by random operators; values are (channels, height, width)."""

    def __init__(self, seed: int) -> None:
        self.rng = np.random.default_rng(seed)
        self.nodes: list[onnx.NodeProto] = []
        self.constants: list[onnx.TensorProto] = []
        self.shapes: dict[str, Shape] = {"x": (3, 6, 6)}

    def put(self, op: str, inputs: list[str], shape: Shape, **attributes) -> str:
        name = f"{op}_{len(self.nodes)}"
        self.nodes.append(helper.make_node(op, inputs, [name], name=name, **attributes))
        self.shapes[name] = shape
        return name

    def constant(self, value, dtype=np.float32) -> str:
        name = f"k{len(self.constants)}"
        self.constants.append(numpy_helper.from_array(np.asarray(value, dtype), name))
        return name

    def weights(self, *shape: int, fan: int) -> str:
        return self.constant(self.rng.normal(size=shape) * np.sqrt(2 / fan))

    def chance(self, share: float) -> bool:
        return bool(self.rng.random() < share)

    def pick(self, values):
        return values[int(self.rng.integers(len(values)))]

    # --- operators: a value in, a value out, or None where it does not fit ---------------------

    def conv(self, x: str) -> str:
        c, h, w = self.shapes[x]
        k = self.pick([1, 3])
        groups = self.pick([g for g in (1, 1, 2, c) if c % g == 0])
        out = groups * max(1, 6 // groups)
        stride = self.pick([1, 2]) if min(h, w) > 3 and self.chance(0.2) else 1
        pads = [k // 2] * 4
        bias = self.constant(self.rng.normal(size=out) * 0.1)
        weight = self.weights(out, c // groups, k, k, fan=c // groups * k * k)
        shape = (out, (h - 1) // stride + 1, (w - 1) // stride + 1)
        return self.put("Conv", [x, weight, bias], shape, pads=pads, group=groups,
                        strides=[stride] * 2)  # fmt: skip

    def conv_transpose(self, x: str) -> str | None:
        c, h, w = self.shapes[x]
        if 4 * h * w * 4 > LARGEST:
            return None
        weight = self.weights(c, 4, 2, 2, fan=c)
        return self.put("ConvTranspose", [x, weight], (4, 2 * h, 2 * w), strides=[2, 2])

    def norm(self, x: str) -> str:
        c = self.shapes[x][0]
        draws = (self.rng.uniform(0.5, 1.5, c), self.rng.normal(size=c) * 0.1,
                 self.rng.normal(size=c) * 0.1, self.rng.uniform(0.5, 1.5, c))  # fmt: skip
        params = [self.constant(v) for v in draws]
        return self.put("BatchNormalization", [x, *params], self.shapes[x])

    def curve(self, x: str) -> str:
        op = self.pick(list(CURVES))
        return self.put(op, [x], self.shapes[x], **CURVES[op])

    def relu(self, x: str) -> str:
        return self.put("Relu", [x], self.shapes[x])

    def clip(self, x: str) -> str:
        return self.put("Clip", [x, self.constant(0), self.constant(1)], self.shapes[x])

    def slope(self, x: str) -> str:
        c = self.shapes[x][0]
        slopes = self.constant(np.linspace(-0.2, 0.4, c).reshape(c, 1, 1))
        return self.put("PRelu", [x, slopes], self.shapes[x])

    def silu(self, x: str) -> str:
        gate = self.put("Sigmoid", [x], self.shapes[x])
        return self.put("Mul", [x, gate], self.shapes[x])

    def scaled(self, x: str) -> str:
        c = self.shapes[x][0]
        value = self.pick([-0.7, 1.4, self.rng.normal(size=(c, 1, 1))])
        op = self.pick(["Mul", "Add", "Sub"])
        return self.put(op, [x, self.constant(value)], self.shapes[x])

    def negated(self, x: str) -> str:
        return self.put("Neg", [x], self.shapes[x])

    def joined(self, x: str) -> str | None:
        alike = [n for n, s in self.shapes.items() if s == self.shapes[x] and n != x]
        if not alike:
            return None
        op = self.pick(["Add", "Add", "Sub", "Max", "Min", "Sum", "Mean"])
        return self.put(op, [x, self.pick(alike)], self.shapes[x])

    def concat(self, x: str) -> str | None:
        c, *space = self.shapes[x]
        alike = [n for n, s in self.shapes.items() if list(s[1:]) == space]
        other = self.pick(alike)
        total = c + self.shapes[other][0]
        if total * int(np.prod(space)) > LARGEST:
            return None
        return self.put("Concat", [x, other], (total, *space), axis=1)

    def pool(self, x: str) -> str | None:
        c, h, w = self.shapes[x]
        op = self.pick(["MaxPool", "AveragePool"])
        if min(h, w) < 3:
            return None
        if self.chance(0.3):  # overlapping, with pads
            return self.put(op, [x], (c, h, w), kernel_shape=[3, 3], pads=[1] * 4)
        return self.put(op, [x], (c, h // 2, w // 2), kernel_shape=[2, 2], strides=[2, 2])

    def resize(self, x: str) -> str | None:
        c, h, w = self.shapes[x]
        if 4 * c * h * w > LARGEST:
            return None
        scales = self.constant([1, 1, 2, 2])
        more = self.pick([
            {"mode": "nearest", "coordinate_transformation_mode": "asymmetric",
             "nearest_mode": "floor"},
            {"mode": "linear", "coordinate_transformation_mode": "half_pixel"},
        ])  # fmt: skip
        return self.put("Resize", [x, "", scales], (c, 2 * h, 2 * w), **more)

    def padded(self, x: str) -> str | None:
        c, h, w = self.shapes[x]
        if c * (h + 2) * (w + 1) > LARGEST:
            return None
        pads = self.constant([0, 0, 1, 0, 0, 0, 1, 1], np.int64)
        return self.put("Pad", [x, pads], (c, h + 2, w + 1))

    def sliced(self, x: str) -> str | None:
        c, h, w = self.shapes[x]
        if min(h, w) < 3:
            return None
        bounds = [self.constant(v, np.int64) for v in ([1], [h], [2])]
        return self.put("Slice", [x, *bounds], (c, h - 1, w))

    def shuffled(self, x: str) -> str | None:
        c, h, w = self.shapes[x]
        if c % 2:
            return None
        halves = self.constant([1, 2, c // 2, h, w], np.int64)
        y = self.put("Reshape", [x, halves], (2, c // 2, h, w))
        y = self.put("Transpose", [y], (c // 2, 2, h, w), perm=[0, 2, 1, 3, 4])
        del self.shapes[y], self.shapes[self.nodes[-2].output[0]]
        return self.put("Reshape", [y, self.constant([1, c, h, w], np.int64)], (c, h, w))

    def half(self, x: str) -> str | None:
        c, h, w = self.shapes[x]
        if c % 2:
            return None
        names = [f"part{len(self.nodes)}_{k}" for k in (0, 1)]
        self.nodes.append(helper.make_node("Split", [x], names, axis=1))
        self.shapes.update(dict.fromkeys(names, (c // 2, h, w)))
        return self.pick(names)

    def gated(self, x: str) -> str:
        """Squeeze: every position gets the mean of all, times a matrix."""
        c = self.shapes[x][0]
        mean = self.put("GlobalAveragePool", [x], (c, 1, 1))
        return self.put("Conv", [mean, self.weights(c, c, 1, 1, fan=c)], (c, 1, 1))

    def transposed(self, x: str) -> str:
        c, h, w = self.shapes[x]
        return self.put("Transpose", [x], (c, w, h), perm=[0, 1, 3, 2])

    # --- networks --------------------------------------------------------------------------------

    def head(self, x: str) -> str:
        c, h, w = self.shapes[x]
        kind = self.pick(["gap", "gmp", "flat", "map", "two"])
        if kind == "map":
            return self.put("Conv", [x, self.weights(2, c, 1, 1, fan=c)], (2, h, w))
        if kind == "flat":
            flat, size = self.put("Flatten", [x], (c * h * w,)), c * h * w
        elif kind == "two":
            means = self.put("ReduceMean", [x], (c,), axes=[2, 3], keepdims=0)
            pooled = self.put("GlobalMaxPool", [x], (c, 1, 1))
            tops = self.put("Flatten", [pooled], (c,))
            flat, size = self.put("Concat", [means, tops], (2 * c,), axis=1), 2 * c
        else:
            op = "GlobalAveragePool" if kind == "gap" else "GlobalMaxPool"
            flat, size = self.put("Flatten", [self.put(op, [x], (c, 1, 1))], (c,)), c
        if self.chance(0.3):
            hidden = self.put("Gemm", [flat, self.weights(8, size, fan=size)], (8,), transB=1)
            flat, size = self.put(self.pick(["Relu", "Tanh", "Identity"]), [hidden], (8,)), 8
        return self.put("Gemm", [flat, self.weights(4, size, fan=size)], (4,), transB=1)

    def model(self) -> onnx.ModelProto:
        makers: list[Callable[[str], str | None]] = [
            self.conv, self.conv, self.conv, self.relu, self.relu, self.curve, self.curve,
            self.joined, self.joined, self.concat, self.pool, self.norm, self.clip, self.slope,
            self.silu, self.scaled, self.negated, self.resize, self.padded, self.sliced,
            self.shuffled, self.half, self.gated, self.transposed, self.conv_transpose,
        ]  # fmt: skip
        value = self.conv("x") if self.chance(0.7) else "x"
        for _ in range(int(self.rng.integers(3, 9))):
            made = self.pick(makers)(value)
            value = value if made is None else made
            if self.chance(0.15):
                images = [n for n, s in self.shapes.items() if len(s) == 3]
                value = self.pick(images)
        output = self.head(value)
        info = helper.make_tensor_value_info
        inputs = [info("x", TensorProto.FLOAT, [1, 3, 6, 6])]
        outputs = [info(output, TensorProto.FLOAT, [1, *self.shapes[output]])]
        graph = helper.make_graph(self.nodes, "net", inputs, outputs, self.constants)
        opset = helper.make_opsetid("", 17)
        return helper.make_model(graph, opset_imports=[opset], ir_version=9)


def answers(model: onnx.ModelProto, x: np.ndarray) -> np.ndarray:
    session = onnxruntime.InferenceSession(model.SerializeToString())
    return np.concatenate([session.run(None, {"x": v[None]})[0].reshape(1, -1) for v in x])


def error(found: np.ndarray, wanted: np.ndarray) -> float:
    """Root mean square of the difference over the standard deviation, or a tenth of the size."""
    spread = np.sqrt(np.mean((wanted - wanted.mean(axis=0)) ** 2))
    size = np.sqrt(np.mean(wanted**2))
    return float(np.sqrt(np.mean((found.reshape(wanted.shape) - wanted) ** 2))) / max(
        float(spread), 0.1 * float(size), 0.01
    )


def outcome(seed: int) -> str:
    """What became of a random network: `close`, or who refused it and why.

    Raises:
        AssertionError: where it died late or is far off in silence.
    """
    model = Composer(seed).model()
    x = np.random.default_rng(seed).uniform(0, 1, (64, 3, 6, 6)).astype(np.float32)
    wanted = answers(model, x)
    options = Options(timesteps=STEPS, samples=40)
    ann = Model.load(model)
    if ann.imported.graph is None:
        return f"refused: {ann.imported.refusals[0].reason}"
    try:
        made = spikec.compile(ann, x[:56], options=options, progress=False)
    except SpikecError as problem:
        if "rounding to integers loses too much" in problem.message:
            return f"told: {problem.message}"
        refusals = try_out(ann, options).refusals
        if refusals:
            return f"refused: {refusals[0].reason}"
        raise AssertionError(f"{seed}: dead late: {problem}") from problem
    real, whole = (error(made.run(x[48:], stage=stage), wanted[48:]) for stage in ("float", "int"))
    # What plainly rounded weights cost the ANN itself is no fault of the compiler.
    plain = max(out.rounded_error or 0.0 for out in made.report.loss.outputs)
    worst = 1.6 * math.hypot(real, plain) + 0.08
    assert whole <= worst, f"{seed}: float {real:.3f}, integers {whole:.3f}"
    equal = made.check(x[:2], engines=["reference", "fast", "onnx"])["equal"]
    assert equal, f"{seed}: engines differ"
    return f"close: float {real:.3f}, integers {whole:.3f}"


@pytest.mark.parametrize("seed", range(SEEDS))
def test_random_network(seed):
    outcome(seed)
