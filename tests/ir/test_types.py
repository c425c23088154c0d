import numpy as np
import pytest

from spikec.ir import (
    F32,
    F64,
    SPIKE,
    DType,
    Param,
    ParseError,
    TensorType,
    signed,
    spread,
    unsigned,
)


@pytest.mark.parametrize("text", ["f32", "f64", "spike", "i1", "i8", "i24", "u8", "u32", "i64"])
def test_dtype_text_reads_back(text):
    assert str(DType.parse(text)) == text


@pytest.mark.parametrize("text", ["", "f16", "i0", "i65", "u99", "float", "i08", "I8", "spikes"])
def test_dtype_refuses_other_text(text):
    with pytest.raises(ParseError, match="element type"):
        DType.parse(text)


@pytest.mark.parametrize(
    ("dtype", "bounds"),
    [
        (signed(8), (-128, 127)),
        (signed(24), (-(2**23), 2**23 - 1)),
        (signed(1), (-1, 0)),
        (unsigned(8), (0, 255)),
        (unsigned(64), (0, 2**64 - 1)),
        (SPIKE, (-1, 1)),
    ],
)
def test_bounds(dtype, bounds):
    assert dtype.bounds == bounds


@pytest.mark.parametrize(
    ("dtype", "storage"),
    [(signed(3), "i1"), (signed(9), "i2"), (signed(24), "i4"), (signed(33), "i8"),
     (unsigned(12), "u2"), (SPIKE, "i1"), (F32, "f4"), (F64, "f8")],
)  # fmt: skip
def test_storage_is_the_smallest_that_holds_it(dtype, storage):
    assert dtype.storage == np.dtype(storage)


def test_tensor_type():
    kind = TensorType(signed(24), (4, 3, 2))
    assert (str(kind), kind.size) == ("i24[4,3,2]", 24)
    assert str(TensorType(F32, ())) == "f32[]"
    assert TensorType(F32, ()).size == 1
    assert kind.with_dtype(SPIKE) == TensorType(SPIKE, (4, 3, 2))


def test_param_is_a_read_only_copy():
    array = np.ones(3)
    param = Param.of(array, F32)
    array[0] = 7
    assert param.array.tolist() == [1, 1, 1]
    assert param.array.dtype == np.float32
    with pytest.raises(ValueError, match="read-only"):
        param.array[0] = 2


def test_params_are_equal_when_their_types_are():
    assert Param.of(np.zeros(3)) == Param.of(np.ones(3)) == Param(TensorType(F32, (3,)))
    assert Param.of(np.zeros(3)) != Param.of(np.zeros(4))


def test_spread():
    assert spread(np.arange(3), (3, 2, 2)).shape == (3, 1, 1)
    assert spread(np.arange(3), (3,)).shape == (3,)
    assert spread(np.ones(()), (3, 2)).shape == ()
    assert spread(np.ones((3, 1)), (3, 2)).shape == (3, 1)
