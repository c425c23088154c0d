"""Networks of the kinds that people have, in small: imported, they equal onnxruntime."""

import numpy as np
import pytest
from onnx import helper, numpy_helper

import spikec

N = helper.make_node
HALF = {"kernel_shape": [2, 2], "strides": [2, 2]}


class Net:
    """A model in the making: called with an operator and its inputs, it names the output."""

    def __init__(self):
        self.nodes, self.constants = [], []
        self.random = np.random.default_rng(0)

    def constant(self, array, dtype=np.float32):
        name = f"c{len(self.constants)}"
        self.constants.append(numpy_helper.from_array(np.asarray(array, dtype), name))
        return name

    def ints(self, *values):
        return self.constant(values, np.int64)

    def __call__(self, op, *inputs, outputs=1, **attrs):
        names = [f"v{len(self.nodes)}_{i}" for i in range(outputs)]
        self.nodes.append(N(op, list(inputs), names, **attrs))
        return names[0] if outputs == 1 else names

    def weights(self, *shape):
        return self.constant(self.random.normal(size=shape) / np.sqrt(np.prod(shape[1:])))

    def conv(self, x, inputs, outputs, size=3, **attrs):
        pads = [size // 2] * 4
        return self("Conv", x, self.weights(outputs, inputs // attrs.get("group", 1), size, size),
                    self.weights(outputs), pads=pads, **attrs)  # fmt: skip

    def dense(self, x, inputs, outputs):
        return self("Gemm", x, self.weights(outputs, inputs), self.weights(outputs), transB=1)

    def relu(self, x):
        return self("Relu", x)


def face_detector(n):
    """SSD: two scales of boxes and scores, boxes decoded against priors."""
    deep = n.relu(n.conv("x", 3, 8))
    scores, boxes = [], []
    for value in (deep, n.relu(n.conv(n("MaxPool", deep, **HALF), 8, 8))):
        for parts, size in ((scores, 2), (boxes, 4)):
            last = n("Transpose", n.conv(value, 8, 2 * size), perm=[0, 2, 3, 1])
            parts.append(n("Reshape", last, n.ints(1, -1, size)))
    places = n("Concat", *boxes, axis=1)
    prior = n.random.uniform(size=(1, 160, 4))
    centre, size = (
        n("Slice", places, n.ints(first), n.ints(first + 2), n.ints(2)) for first in (0, 2)
    )
    centre = n("Mul", n("Mul", centre, n.constant(0.1)), n.constant(prior[..., 2:]))
    centre = n("Add", centre, n.constant(prior[..., :2]))
    size = n("Mul", n("Exp", n("Mul", size, n.constant(0.2))), n.constant(prior[..., 2:]))
    half = n("Div", size, n.constant(2))
    corners = n("Concat", n("Sub", centre, half), n("Add", centre, half), axis=2)
    return [n("Softmax", n("Concat", *scores, axis=1), axis=2), corners]


def prelu_cascade(n):
    """MTCNN's first net: trained slopes, pooling with a partial window, two heads."""
    slopes = n.constant(n.random.uniform(-0.2, 0.4, (10, 1, 1)))
    x = n("PRelu", n.conv("x", 3, 10), slopes)
    x = n("MaxPool", x, kernel_shape=[3, 3], strides=[2, 2], ceil_mode=1)
    x = n("PRelu", n.conv(x, 10, 10), slopes)
    return [n("Softmax", n.conv(x, 10, 2, 1), axis=1), n.conv(x, 10, 4, 1)]


def captcha(n):
    """Five characters, each with a head of its own."""
    x = n("Flatten", n("MaxPool", n.relu(n.conv("x", 3, 8)), **HALF))
    return [n("Softmax", n.dense(x, 128, 10), axis=1) for _ in range(5)]


def segmenter(n):
    """U-Net with a transposed convolution, and interpolation with aligned corners."""
    wide = n.relu(n.conv("x", 3, 8))
    deep = n.relu(n.conv(n("MaxPool", wide, **HALF), 8, 8))
    up = n("ConvTranspose", deep, n.weights(8, 8, 2, 2), strides=[2, 2])
    same = n("Resize", deep, "", "", n.ints(1, 8, 8, 8), mode="linear",
             coordinate_transformation_mode="align_corners")  # fmt: skip
    return [n.conv(n.relu(n.conv(n("Concat", wide, up, same, axis=1), 24, 8)), 8, 2, 1)]


def shuffle_net(n):
    """Channels split, a depthwise branch, channels shuffled by way of the batch axis."""
    x = n.relu(n.conv("x", 3, 8))
    for _ in range(2):
        kept, other = n("Split", x, n.ints(4, 4), outputs=2, axis=1)
        other = n.conv(n.relu(n.conv(other, 4, 4, 1)), 4, 4, group=4)
        x = n("Concat", kept, n.relu(n.conv(other, 4, 4, 1)), axis=1)
        x = n("Transpose", n("Reshape", x, n.ints(2, 4, 64)), perm=[1, 0, 2])
        x = n("Reshape", x, n.ints(1, 8, 8, 8))
    return [n("ReduceMean", x, axes=[2, 3], keepdims=0)]


def grid_detector(n):
    """YOLO: slopes, anchors on a grid, everything in one output."""
    x = n("LeakyRelu", n.conv("x", 3, 8), alpha=0.1)
    x = n("Reshape", n.conv(x, 8, 18, 1), n.ints(1, 3, 6, 8, 8))
    x = n("Sigmoid", n("Transpose", x, perm=[0, 1, 3, 4, 2]))
    xy, wh, rest = n("Split", x, n.ints(2, 2, 2), outputs=3, axis=4)
    grid = n.constant(n.random.uniform(size=(1, 3, 8, 8, 2)))
    xy = n("Mul", n("Add", n("Sub", n("Mul", xy, n.constant(2)), n.constant(0.5)), grid),
           n.constant(8))  # fmt: skip
    squared = n("Pow", n("Mul", wh, n.constant(2)), n.constant(2))
    wh = n("Mul", squared, n.constant(n.random.uniform(size=(1, 3, 1, 1, 2))))
    return [n("Reshape", n("Concat", xy, wh, rest, axis=4), n.ints(1, -1, 6))]


def keyword_spotter(n):
    """A flat input that becomes an image, channels last between the layers."""
    x = n("Transpose", n("Reshape", "x", n.ints(-1, 8, 8, 3)), perm=[0, 3, 1, 2])
    x = n("Transpose", n.relu(n.conv(x, 3, 4)), perm=[0, 2, 3, 1])
    x = n("MatMul", n("Reshape", x, n.ints(-1, 256)), n.weights(256, 4))
    return [n("Softmax", n("Add", x, n.weights(4)), axis=1)]


def policy(n):
    """Actions within bounds, and the state's value as a number."""
    x = n("Tanh", n.dense("x", 192, 16))
    x = n("Mul", x, n("Sigmoid", x))
    action = n("Clip", n.dense(x, 16, 2), n.constant(-1.0), n.constant(1.0))
    return [action, n("Squeeze", n.dense(x, 16, 1), n.ints(1))]


def dueling(n):
    """A value and advantages about their mean."""
    x = n.relu(n.dense("x", 192, 16))
    advantage = n.dense(x, 16, 4)
    mean = n("ReduceMean", advantage, axes=[1], keepdims=1)
    return [n("Add", n.dense(x, 16, 1), n("Sub", advantage, mean))]


def siamese(n):
    """Both halves of the input through one network, as a batch of two."""
    halves = n("Split", "x", n.ints(96, 96), outputs=2, axis=1)
    x = n.relu(n.dense(n("Concat", *halves, axis=0), 96, 8))
    left, right = n("Split", x, n.ints(1, 1), outputs=2, axis=0)
    return [n("ReduceSum", n("Abs", n("Sub", left, right)), n.ints(1), keepdims=0)]


def unrolled(n):
    """A recurrent network written out over three steps."""
    state = n.constant(np.zeros((1, 8)))
    w, u = n.weights(8, 64), n.weights(8, 8)
    for step in n("Split", "x", n.ints(64, 64, 64), outputs=3, axis=1):
        total = n("Add", n("Gemm", step, w, transB=1), n("Gemm", state, u, transB=1))
        state = n.relu(total)
    return [n.dense(state, 8, 3)]


def embedding(n):
    """A face's embedding, its length taken out at the end."""
    x = n("Flatten", n("GlobalAveragePool", n.relu(n.conv("x", 3, 8))))
    x = n.dense(x, 8, 6)
    length = n("Clip", n("ReduceL2", x, axes=[1]), n.constant(1e-12))
    return [n("Div", x, n("Expand", length, n.ints(1, 6)))]


IMAGES = [face_detector, prelu_cascade, captcha, segmenter, shuffle_net, grid_detector, embedding]
VECTORS = [keyword_spotter, policy, dueling, siamese, unrolled]


KINDS = pytest.mark.parametrize("kind", [*IMAGES, *VECTORS], ids=lambda kind: kind.__name__)


@pytest.fixture
def model(kind, build):
    net = Net()
    outputs = kind(net)
    constants = {c.name: numpy_helper.to_array(c) for c in net.constants}
    return build(net.nodes, {"x": shape_of(kind)}, constants, outputs=outputs)


def shape_of(kind):
    return [1, 3, 8, 8] if kind in IMAGES else [1, 192]


@KINDS
def test_kind(kind, model, same):
    same(model, 0, 1, tolerance=1e-4)


@KINDS
def test_compiled_kind(kind, model):
    """What rounding costs is little beside what spikes cost; all engines agree."""
    x = np.random.default_rng(1).uniform(0, 1, (64, *shape_of(kind)[1:])).astype(np.float32)
    art = spikec.compile(model, x[:40], timesteps=8, progress=False)
    for out in art.report.loss.outputs:
        assert out.int_error <= 1.5 * out.float_error + 0.05
        assert out.float_error < 0.8
    assert art.check(x[40:44], engines=("reference", "fast", "onnx"))["equal"]
