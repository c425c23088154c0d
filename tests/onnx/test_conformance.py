"""The ONNX project's own backend cases: imported and equal, or refused for a reason listed here."""

import fnmatch
import re
import warnings
from collections import Counter
from pathlib import Path

import numpy as np
import onnx
import onnx.backend.test
import onnxruntime
import pytest
from onnx import ModelProto, TensorProto, numpy_helper

from spikec.compiler.onnx import import_model, load_model
from spikec.ir import SpikecError
from spikec.runtime.interpreter import forward

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    from onnx.backend.test.loader import load_model_tests

    _loaded = {
        kind: load_model_tests(kind=kind)
        for kind in ("node", "pytorch-converted", "pytorch-operator")
    }
LIGHT = sorted((Path(onnx.backend.test.__file__).parent / "data" / "light").glob("light_*.onnx"))

_OPERATORS = """
    Abs Add ArgMax AveragePool BatchNormalization Cast Celu Clip Concat Conv ConvInteger
    ConvTranspose DepthToSpace DequantizeLinear Div Dropout DynamicQuantizeLinear Elu Erf Exp
    Expand Flatten Gather Gelu Gemm GlobalAveragePool GlobalMaxPool HardSigmoid HardSwish Identity
    LRN LeakyRelu Log LogSoftmax MatMul MatMulInteger Max MaxPool Mean Min Mish Mul Neg PRelu Pad
    Pow QLinearConv QLinearMatMul QuantizeLinear Reciprocal ReduceL1 ReduceL2 ReduceLogSum
    ReduceLogSumExp ReduceMax ReduceMean ReduceMin ReduceSum ReduceSumSquare Relu Reshape Resize
    Selu Shrink Sigmoid Slice Softmax Softplus Softsign SpaceToDepth Split Sqrt Squeeze Sub Sum
    Swish Tanh ThresholdedRelu Tile Transpose Unsqueeze Upsample Where
"""
OPERATORS = frozenset(_OPERATORS.split())

DATA_INPUTS = ("Add", "Concat", "Div", "Max", "Mean", "Min", "Mul", "Sub", "Sum")
"""Operators all of whose inputs are data; of the others the first is, and the rest constants."""

REFUSED = {
    # Axis 0 of a graph input is the batch, or one axis of many where that fails; not both.
    "mixes samples of a batch": "split_zero_size_* quantizelinear_float4e2m1",
    "the inputs have different batch sizes": "div_bcast mul_bcast",
    "the constant differs between samples of a batch": "gemm_default_matrix_bias operator_params",
    "are a stack of matrices": "matmul_1d_3d qlinearmatmul_3D_*",
    "do not fit a value of shape": "matmul_bcast",
    # No spiking form.
    "multiplies values that both depend on the data": "mul mul_example GLU* operator_basic",
    "division by a value that depends on the data": "div div_example",
    "it divides by statistics of the data": "lrn lrn_default operator_symbolic_override",
    "it looks up constants by values that depend on the data": "Embedding Embedding_sparse",
    "its exponents differ between elements":
        "pow pow_example pow_bcast_array pow_types_* operator_pow",
    "the indices of the maxima are used": "maxpool_with_argmax_*",
    "it jumps: bias": "shrink_hard",
    # Of training, not of inference.
    "the dropout mask is used": "*dropout_*mask*",
    "training_mode is on": "training_dropout training_dropout_default training_dropout_zero_ratio",
    "training_mode=1": "batchnorm_*_training_mode",
    # Forms that are not supported.
    "it computes with integers": "operator_non_float_params",
    "tf_crop_and_resize": "resize_tf_crop_and_resize*",
    "keep_aspect_ratio_policy": "resize_*_not_larger resize_*_not_smaller",
    "its zero points differ between channels": "quantizelinear_axis",
    "quantisation to float8": "quantizelinear_e4m3fn quantizelinear_e5m2",
    "it dequantises what is no integer": "dequantizelinear_*",
    "do not fit": "quantizelinear_blocked_*",
    # Nothing left to compute.
    "does not fit 12 elements": "reshape_allowzero_reordered",
    "has no fixed size": "reduce_*_empty_set*",
    "has no shape": "identity_opt identity_sequence",
    "no value lies within [2.0, 1.0]": "clip_min_greater_than_max",
    "is empty": "slice_start_out_of_bounds",
    "an output holds integers whose scale depends on the data": "dynamicquantizelinear*",
    "beyond single precision":
        "operator_addconstant operator_add_broadcast operator_add_size1_[rs]*",
}  # fmt: skip
"""Reason to the cases refused for it (patterns)."""


BY_ONNXRUNTIME = [
    "test_resize_downsample_scales_cubic_align_corners",
    "test_resize_downsample_scales_linear_align_corners",
]
"""Cases that onnxruntime reads in another way (corners of a size that is a fraction)."""


def cases():
    for kind, found in _loaded.items():
        for case in sorted(found, key=lambda case: case.name):
            if kind != "node" or _belongs(case):
                yield pytest.param(kind, case, id=f"{kind}-{case.name}")


def _belongs(case):
    """Whether a case is one operator of those above, on real numbers or quantised ones.

    Element types of 2, 4 and 8 bits that no such network computes with are left out of Cast.
    """
    nodes = case.model.graph.node
    if len(nodes) != 1 or nodes[0].op_type not in OPERATORS:
        return False
    if nodes[0].op_type == "Cast" and re.search("FLOAT[48]|INT[24]", case.name):
        return False
    dtype = np.asarray(array(case.data_sets[0][0][0])).dtype
    return "Q" in nodes[0].op_type or "Integer" in nodes[0].op_type or dtype.kind == "f"


def read(kind, case):
    """Model, inputs and expected outputs."""
    if kind == "node":
        inputs, outputs = case.data_sets[0]
        return case.model, list(map(array, inputs)), list(map(array, outputs))
    folder = Path(case.model_dir)
    data = folder / "test_data_set_0"
    inputs, outputs = (
        [array(TensorProto.FromString((data / f"{what}_{i}.pb").read_bytes()))
         for i in range(len(list(data.glob(f"{what}_*.pb"))))]
        for what in ("input", "output")
    )  # fmt: skip
    return onnx.load(folder / "model.onnx"), inputs, outputs


def array(value):
    return numpy_helper.to_array(value) if isinstance(value, TensorProto) else value


def with_constants(model, inputs):
    """The model with all inputs but the data as initializers, as real models hold them."""
    changed = ModelProto()
    changed.CopyFrom(model)
    if model.graph.node[0].op_type not in DATA_INPUTS:
        for info, value in list(zip(model.graph.input, inputs, strict=False))[1:]:
            changed.graph.initializer.append(numpy_helper.from_array(np.asarray(value), info.name))
    return changed


def run(model, inputs, outputs, tolerance):
    """Import a case and compare; the error's message if it is refused."""
    try:
        imported = import_model(load_model(with_constants(model, inputs))[0])
        graph = imported.require()
    except SpikecError as error:
        return str(error)
    places = [info.name for info in model.graph.input]
    feeds = {node.name: inputs[places.index(node.loc)] for node in graph.inputs}
    if not imported.has_batch:
        feeds = {name: x[None] for name, x in feeds.items()}
    if any(np.abs(want).max(initial=0) > 1e38 for want in outputs if want.dtype.kind == "f"):
        return "the result is beyond single precision"
    found = forward(graph, feeds)
    expected = dict(zip([info.name for info in model.graph.output], outputs, strict=False))
    for name, value in zip(imported.logits, graph.outputs, strict=True):
        if name not in expected:
            assert any("is left out" in note for note in imported.notes)
            continue
        want = expected[name]
        half = want.dtype not in (np.float32, np.float64) and want.dtype.kind not in "iu"
        have = found[value]
        # A number per sample has an axis of its own, and a batch of one may be an axis or none.
        assert [n for n in have.shape if n > 1] == [n for n in want.shape if n > 1]
        np.testing.assert_allclose(
            have.reshape(want.shape).astype(np.float64),
            want.astype(np.float64),
            rtol=max(tolerance, 2e-2 if half else 1e-3),
            atol=1e-2 if half else 1e-6,
        )
    return None


COUNTS: Counter[str] = Counter()


@pytest.mark.parametrize(("kind", "case"), list(cases()))
def test_case(kind, case):
    model, inputs, outputs = read(kind, case)
    if case.name in BY_ONNXRUNTIME:
        session = onnxruntime.InferenceSession(with_constants(model, inputs).SerializeToString())
        outputs = session.run(None, {model.graph.input[0].name: inputs[0]})
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        problem = run(model, inputs, outputs, case.rtol)
    reasons = [r for r, names in REFUSED.items() if any(
        fnmatch.fnmatch(case.name.removeprefix("test_"), n) for n in names.split()
    )]  # fmt: skip
    if problem is None:
        COUNTS[f"{kind} equal"] += 1
        assert not reasons, f"{case.name} is listed as refused ({reasons[0]}), but equal"
        return
    COUNTS[f"{kind} refused"] += 1
    assert reasons, f"{case.name} is refused and not listed: {problem}"
    assert any(reason in problem for reason in reasons), problem


@pytest.mark.parametrize("path", LIGHT, ids=lambda path: path.stem)
def test_structure_of_light_models(path):
    """Known architectures without weights: all nodes are understood or named as refused."""
    imported = import_model(load_model(path)[0])
    expected = {"light_inception_v1": "LRN", "light_bvlc_alexnet": "LRN", "light_zfnet512": "LRN"}
    assert {refusal.op for refusal in imported.refusals} == set(expected.get(path.stem, "").split())
    COUNTS["light models"] += 1


def test_counts(capsys):
    with capsys.disabled():
        print("\nconformance:", ", ".join(f"{n} {what}" for what, n in sorted(COUNTS.items())))
