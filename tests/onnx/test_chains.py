"""Random chains of operators in any layout: imported and rewritten, they equal onnxruntime."""

import random

import numpy as np
import onnxruntime
import pytest
from onnx import helper, numpy_helper

from spikec.compiler.onnx import import_model, load_model
from spikec.compiler.pipeline import Context, Pipeline, parse_pipeline
from spikec.runtime.interpreter import forward

REWRITES = "channels_first,quantisers,fold,relay"


class Chain:
    """A model of a batch of one in the making: each step reads the last value.

    Attributes:
        shape: Of the last value, the batch axis included.
    """

    def __init__(self, seed):
        self.random = random.Random(seed)
        self.numbers = np.random.default_rng(seed)
        self.shape = [1, *self.random.choices([1, 2, 3, 4], k=self.random.choice([1, 2, 3, 3]))]
        self.input = list(self.shape)
        self.nodes, self.constants, self.values = [], [], []
        self.last = "x"

    def weights(self, *shape):
        return self.numbers.uniform(-1, 1, shape).astype(np.float32)

    def constant(self, array):
        self.constants.append(numpy_helper.from_array(np.asarray(array), f"c{len(self.constants)}"))
        return self.constants[-1].name

    def add(self, op, shape, *others, first=True, **attrs):
        names = [other if isinstance(other, str) else self.constant(other) for other in others]
        inputs = [self.last, *names] if first else [*names, self.last]
        self.values.append((self.last, list(self.shape)))
        self.last, self.shape = f"v{len(self.nodes)}", [int(size) for size in shape]
        self.nodes.append(helper.make_node(op, inputs, [self.last], **attrs))

    def axis(self):
        return self.random.randrange(len(self.shape))

    def model(self):
        info = helper.make_tensor_value_info
        inputs, outputs = [info("x", 1, self.input)], [info(self.last, 1, self.shape)]
        graph = helper.make_graph(self.nodes, "chain", inputs, outputs, self.constants)
        opsets = [helper.make_opsetid("", 17)]
        return helper.make_model(graph, opset_imports=opsets, ir_version=8)


def transpose(c):
    perm = c.random.sample(range(len(c.shape)), len(c.shape))
    c.add("Transpose", [c.shape[axis] for axis in perm], perm=perm)


def reshape(c):
    size = int(np.prod(c.shape))
    shapes = [[size], [1, size], [size, 1]]
    shapes += [[size // 2, 2]] if size % 2 == 0 else []
    shapes += [[2, size // 4, 2], [1, 2, size // 4, 2]] if size % 4 == 0 else []
    shape = c.random.choice(shapes)
    c.add("Reshape", shape, np.array(shape))


def flatten(c):
    axis = c.random.randint(0, len(c.shape))
    c.add("Flatten", [np.prod(c.shape[:axis]), np.prod(c.shape[axis:])], axis=axis)


def unsqueeze(c):
    axis = c.random.randint(0, len(c.shape))
    if len(c.shape) < 5:
        c.add("Unsqueeze", [*c.shape[:axis], 1, *c.shape[axis:]], np.array([axis]))


def squeeze(c):
    ones = [axis for axis, size in enumerate(c.shape) if size == 1]
    if ones and len(c.shape) > 1:
        axis = c.random.choice(ones)
        c.add("Squeeze", c.shape[:axis] + c.shape[axis + 1 :], np.array([axis]))


def arithmetic(c):
    start = c.axis()
    shape = [c.random.choice([1, size]) for size in c.shape[start:]]
    op, first = c.random.choice(["Add", "Sub", "Mul"]), c.random.random() < 0.5
    c.add(op, c.shape, c.weights(*shape), first=first)


def join(c):
    fits = [
        name
        for name, shape in c.values
        if len(shape) <= len(c.shape)
        and all(a in (1, b) for a, b in zip(shape[::-1], c.shape[::-1], strict=False))
    ]
    if fits:
        c.add(c.random.choice(["Add", "Sub", "Max"]), c.shape, c.random.choice(fits))


def activation(c):
    c.add(c.random.choice(["Relu", "Sigmoid", "LeakyRelu", "Abs", "Neg"]), c.shape)


def batch_norm(c):
    if len(c.shape) > 1:
        params = [c.weights(c.shape[1]) for _ in range(3)]
        c.add("BatchNormalization", c.shape, *params, c.weights(c.shape[1]) + 2)


def matmul(c):
    outputs = c.random.choice([1, 2, 3])
    if len(c.shape) > 1 and c.random.random() < 0.5:
        shape = [*c.shape[:-2], outputs, c.shape[-1]]
        c.add("MatMul", shape, c.weights(outputs, c.shape[-2]), first=False)
    else:
        c.add("MatMul", [*c.shape[:-1], outputs], c.weights(c.shape[-1], outputs))


def conv(c):
    if len(c.shape) == 4 and c.shape[0] == 1:
        outputs = c.random.choice([1, 2, 3])
        c.add("Conv", [1, outputs, *c.shape[2:]], c.weights(outputs, c.shape[1], 1, 1))


def pool(c):
    if len(c.shape) == 4 and c.shape[0] == 1 and min(c.shape[2:]) > 1:
        shape = [*c.shape[:2], c.shape[2] - 1, c.shape[3] - 1]
        c.add(c.random.choice(["MaxPool", "AveragePool"]), shape, kernel_shape=[2, 2])


def concat(c):
    axis = c.axis()
    shape = [size * 2 if a == axis else size for a, size in enumerate(c.shape)]
    c.add("Concat", shape, c.last, axis=axis)


def slice_(c):
    axis = c.axis()
    if c.shape[axis] > 1:
        shape = [size - (a == axis) for a, size in enumerate(c.shape)]
        c.add("Slice", shape, np.array([1]), np.array([99]), np.array([axis]))


def gather(c):
    axis = c.axis()
    indices = c.random.choice([np.array(0), np.array([c.shape[axis] - 1, 0])])
    if len(c.shape) > 1:
        shape = [*c.shape[:axis], *indices.shape, *c.shape[axis + 1 :]]
        c.add("Gather", shape, indices, axis=axis)


def reduce(c):
    axis = c.axis()
    if len(c.shape) > 1:
        keep = c.random.choice([0, 1])
        shape = [*c.shape[:axis], *[1] * keep, *c.shape[axis + 1 :]]
        op = c.random.choice(["ReduceMean", "ReduceMax"])
        c.add(op, shape, axes=[axis], keepdims=keep)


def resize(c):
    if len(c.shape) in (3, 4) and c.shape[0] == 1:
        scales = [1, 1, *(c.random.choice([1, 2]) for _ in c.shape[2:])]
        shape = [size * scale for size, scale in zip(c.shape, scales, strict=True)]
        c.add("Resize", shape, "", np.array(scales, np.float32), mode="linear")


def tile(c):
    if c.shape[0] == 1:
        repeats = [1, *(c.random.choice([1, 1, 2]) for _ in c.shape[1:])]
        shape = [size * count for size, count in zip(c.shape, repeats, strict=True)]
        c.add("Tile", shape, np.array(repeats))


STEPS = [transpose, reshape, flatten, unsqueeze, squeeze, arithmetic, join, activation, batch_norm,
         matmul, conv, pool, concat, slice_, gather, reduce, resize, tile]  # fmt: skip


def chain_of(seed):
    chain = Chain(seed)
    for _ in range(chain.random.randint(2, 9)):
        if np.prod(chain.shape) < 1000:
            chain.random.choice(STEPS)(chain)
    return chain


def reference(model, x):
    """By onnxruntime without its optimiser, which pads before maximum pooling with zeros."""
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    (y,) = onnxruntime.InferenceSession(model.SerializeToString(), options).run(None, {"x": x})
    return y


def check(seed):
    chain = chain_of(seed)
    if not chain.nodes:
        return
    model, x = chain.model(), chain.weights(*chain.input)
    graph = import_model(load_model(model)[0]).require()
    rewritten, _ = Pipeline(parse_pipeline(REWRITES)).run(graph, Context())
    want = reference(model, x)
    for name, made in (("imported", graph), ("rewritten", rewritten)):
        (value,) = forward(made, {"x": x}).values()
        atol = 1e-4 * max(float(np.abs(want).max()), 0.1)
        steps = [node.op_type for node in chain.nodes]
        problem = f"seed {seed}, {name}: {steps}"
        np.testing.assert_allclose(value.reshape(want.shape), want, 0, atol, err_msg=problem)


@pytest.mark.parametrize("first", range(0, 400, 50))
def test_chains(first):
    for seed in range(first, first + 50):
        check(seed)


@pytest.mark.slow
def test_many_chains():
    for seed in range(1000, 6000):
        check(seed)
