import io
import zipfile
from pathlib import Path

import numpy as np
import pytest

from spikec.ir import InvalidData, parse
from spikec.runtime.data import Dataset, make_dataset, read_dataset

ONE = parse("""
graph @one <stage=ann, steps=0> {
  %x : f32[1,2,2] = input() from "image"
  %y : f32[1,2,2] = relu(%x)
  return %y
}""")
TWO = parse("""
graph @two <stage=ann, steps=0> {
  %a : f32[2] = input() from "left"
  %b : f32[3] = input() from "y"
  %c : f32[5] = concat(%a, %b) <axis=0>
  return %c
}""")
GOOD = np.zeros((4, 1, 2, 2), np.float32)


def npz(tmp_path: Path, **arrays) -> Path:
    np.savez(tmp_path / "d.npz", **arrays)
    return tmp_path / "d.npz"


def fails(call) -> str:
    with pytest.raises(InvalidData) as caught:
        call()
    return str(caught.value)


def test_npz_and_npy(tmp_path):
    data = read_dataset(npz(tmp_path, x=GOOD, y=np.arange(4), other=np.zeros(1)), ONE)
    assert len(data) == 4
    assert data.feeds["x"].shape == GOOD.shape
    assert data.labels.tolist() == [0, 1, 2, 3]
    assert read_dataset(tmp_path / "d.npz", ONE, labels=False).labels is None
    np.save(tmp_path / "d.npy", GOOD)
    assert read_dataset(tmp_path / "d.npy", ONE).labels is None
    assert read_dataset(npz(tmp_path, image=GOOD), ONE).feeds["x"].shape == GOOD.shape


def test_uint8_stays_uint8(tmp_path):
    assert read_dataset(npz(tmp_path, x=GOOD.astype("u1")), ONE).feeds["x"].dtype == np.uint8


def test_several_inputs_go_by_name(tmp_path):
    data = read_dataset(npz(tmp_path, left=np.zeros((4, 2)), y=np.zeros((4, 3))), TWO)
    assert set(data.feeds) == {"a", "b"}
    assert data.labels is None


BAD_FILES = {
    "d.npz: holds no array for input 'image'\n  hint: it has nothing; save the inputs as x": {},
    "d.npz: holds no array for input 'image'\n  hint: it has a [4, 1, 2, 2], b [4, 1, 2, 2]; save "
    "one of a, b as x": {"a": GOOD, "b": GOOD},
    "d.npz: holds no array for input 'image'\n  hint: it has z [4, 2]; save the inputs as x": {
        "z": GOOD[:, 0, 0]
    },
    "d.npz: input 'image' has shape [4, 2, 2], the model expects (N, 1, 2, 2)": {"x": GOOD[:, 0]},
    "d.npz: input 'image' has shape [4, 1, 3, 2], the model expects (N, 1, 2, 2)": {
        "x": np.zeros((4, 1, 3, 2))
    },
    "d.npz: input 'image' has shape [], the model expects (N, 1, 2, 2)": {"x": np.float32(3)},
    "d.npz: input 'image' holds no samples": {"x": GOOD[:0]},
    "d.npz: input 'image' holds NaN or infinite values": {"x": GOOD * np.nan},
    "d.npz: input 'image' has type <U1, not numbers": {"x": np.full((4, 1, 2, 2), "a")},
    "d.npz: input 'image' has type complex64, not numbers": {"x": GOOD * 1j},
    "d.npz: y has shape [4] and type float64; expected 4 integers": {
        "x": GOOD, "y": np.full(4, 0.5)
    },
    "d.npz: y has shape [3] and type int64; expected 4 integers": {
        "x": GOOD, "y": np.zeros(3, "i8")
    },
    "d.npz: y has shape [4, 2] and type int64; expected 4 integers": {
        "x": GOOD, "y": np.ones((4, 2), "i8")
    },
}  # fmt: skip


@pytest.mark.parametrize("message", BAD_FILES)
def test_arrays_that_do_not_fit(tmp_path, message):
    path = npz(tmp_path, **BAD_FILES[message])
    assert message in fails(lambda: read_dataset(path, ONE))


def test_arrays_of_several_inputs_that_do_not_fit(tmp_path):
    path = npz(tmp_path, left=np.zeros((4, 2)), y=np.zeros((3, 3)))
    assert fails(lambda: read_dataset(path, TWO)) == (
        "d.npz: inputs hold different numbers of samples"
    )
    path = npz(tmp_path, left=np.zeros((4, 2)))
    assert fails(lambda: read_dataset(path, TWO)) == (
        "d.npz: holds no array for input 'y'\n  hint: has left"
    )
    np.save(tmp_path / "d.npy", np.zeros((4, 2)))
    assert fails(lambda: read_dataset(tmp_path / "d.npy", TWO)) == (
        "d.npy: the model has several inputs\n  hint: give arrays named left, y"
    )


def broken(tmp_path: Path, kind: str) -> Path:
    path = npz(tmp_path, x=np.random.default_rng(0).random((400, 1, 2, 2)))
    if kind == "object array":
        np.savez(path, x=np.array([{"a": 1}] * 4, dtype=object))
    elif kind == "truncated":
        path.write_bytes(path.read_bytes()[:-200])
    elif kind == "text":
        path.write_text("image,label\n1,2\n")
    elif kind == "empty file":
        path.write_bytes(b"")
    elif kind == "damaged":
        buffer = io.BytesIO()
        np.save(buffer, np.zeros((4, 1, 2, 2)))
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr("x.npy", buffer.getvalue())
        data = bytearray(path.read_bytes())
        data[40:60] = bytes(255 - b for b in data[40:60])
        path.write_bytes(data)
    elif kind == "not an array":
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("x.npy", b"hello")
    elif kind == "bytes member":
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("x", b"hello")
    return path


KINDS = ["object array", "truncated", "text", "empty file", "damaged",
         "not an array"]  # fmt: skip


@pytest.mark.parametrize("kind", KINDS)
def test_files_that_cannot_be_read(tmp_path, kind):
    path = broken(tmp_path, kind)
    text = fails(lambda: read_dataset(path, ONE))
    assert text.startswith(f"{path}: cannot be read as .npz: ")
    assert "\n" not in text


def test_what_is_no_array_is_not_read(tmp_path):
    assert fails(lambda: read_dataset(broken(tmp_path, "bytes member"), ONE)).startswith(
        "d.npz: holds no array for input 'image'"
    )


def test_an_array_that_is_there_twice(tmp_path):
    path = npz(tmp_path, x=np.zeros((4, 1, 2, 2)))
    with zipfile.ZipFile(path) as archive:
        content = archive.read("x.npy")
    with zipfile.ZipFile(path, "a") as archive, pytest.warns(UserWarning, match="Duplicate"):
        archive.writestr("x.npy", content)
    assert fails(lambda: read_dataset(path, ONE)) == f"{path}: holds 'x' twice"


def test_an_array_that_is_shorter_than_it_says(tmp_path):
    """No room is made for what the file does not hold."""
    path, buffer = tmp_path / "d.npz", io.BytesIO()
    np.lib.format.write_array_header_1_0(
        buffer, {"descr": "<f4", "fortran_order": False, "shape": (1 << 50, 1, 2, 2)}
    )
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("x.npy", buffer.getvalue() + b"1234")
    assert "'x.npy' does not hold the array that it declares" in fails(
        lambda: read_dataset(path, ONE)
    )


def test_no_such_file(tmp_path):
    path = tmp_path / "none.npz"
    assert fails(lambda: read_dataset(path, ONE)) == f"{path}: no such file"


def test_batches_are_joined():
    data = make_dataset([GOOD, GOOD[:1]], ONE)
    assert len(data) == 5
    assert len(make_dataset(({"image": b} for b in (GOOD, GOOD)), ONE)) == 8


@pytest.mark.parametrize(
    "source",
    [
        [],
        [GOOD, GOOD[:, :, :1]],
        [{"image": GOOD}, {"picture": GOOD}],
        5,
        None,
        "calib.npz",
        [[1, [2, 3]]],
        object(),
    ],
)
def test_what_is_no_data_is_refused_clearly(source):
    assert fails(lambda: make_dataset(source, ONE))


def test_head_draw_and_digest():
    x = np.arange(40).reshape(10, 1, 2, 2)
    data = Dataset({"x": x}, np.arange(10))
    assert data.head(None) is data
    assert len(data.head(3)) == len(data.head(3).labels) == 3
    drawn = data.draw(4, seed=0)
    assert drawn.labels.tolist() == sorted(drawn.labels.tolist())
    assert (drawn.feeds["x"] == x[drawn.labels]).all()
    assert (data.draw(4, seed=0).labels == drawn.labels).all()
    assert any((data.draw(4, seed=s).labels != drawn.labels).any() for s in (1, 2, 3))
    assert data.draw(10, seed=0) is data
    assert data.digest() == Dataset({"x": x}).digest()
    assert data.digest() != data.head(9).digest()
    assert data.digest() != Dataset({"x": x.astype(np.int32)}).digest()
    assert data.digest() != Dataset({"z": x}).digest()


@pytest.mark.parametrize(
    ("x", "y"), [("x_test", "y_test"), ("images", "labels"), ("arr_0", "arr_1"), ("X", "y")]
)
def test_arrays_under_other_names_are_found(tmp_path, x, y):
    data = read_dataset(npz(tmp_path, **{x: GOOD, y: np.arange(4)}), ONE)
    assert (data.feeds["x"] == GOOD).all()
    assert data.labels.tolist() == [0, 1, 2, 3]
    assert (
        read_dataset(npz(tmp_path, **{x: GOOD, y: np.arange(4)}), ONE, labels=False).labels is None
    )


@pytest.mark.parametrize(
    "y",
    [[[2], [0], [1], [2]], np.eye(3)[[2, 0, 1, 2]], [2.0, 0.0, 1.0, 2.0],
     np.eye(3, dtype=bool)[[2, 0, 1, 2]]],
)  # fmt: skip
def test_labels_as_they_are_kept_elsewhere(tmp_path, y):
    assert read_dataset(npz(tmp_path, x=GOOD, y=y), ONE).labels.tolist() == [2, 0, 1, 2]
