"""Data as people have them: tensors, loaders, samples, tuples, paths and images."""

import numpy as np
import pytest

from spikec.ir import InvalidData, ParseError, parse
from spikec.runtime.data import make_dataset, read_dataset
from spikec.runtime.images import Preparation, read_preparation
from spikec.runtime.sources import example

ONE = parse("""
graph @one <stage=ann, steps=0> {
  %x : f32[1,2,2] = input() from "image"
  return %x
}""")
TWO = parse("""
graph @two <stage=ann, steps=0> {
  %a : f32[2] = input() from "left"
  %b : f32[3] = input() from "right"
  %c : f32[5] = concat(%a, %b) <axis=0>
  return %c
}""")
X = np.arange(24, dtype=np.float32).reshape(6, 1, 2, 2)
Y = np.array([0, 1, 2, 0, 1, 2])


class Tensor:
    """What of a torch.Tensor is used; iterating it gives rows, as torch does."""

    def __init__(self, array, dtype="torch.float32"):
        self.array, self.dtype = np.asarray(array), dtype

    def detach(self):
        return self

    def cpu(self):
        return self

    def float(self):
        return Tensor(self.array)

    def numpy(self):
        assert not self.dtype.endswith("bfloat16"), "NumPy has no such type"
        return self.array

    def __iter__(self):
        return iter(Tensor(row) for row in self.array)

    def __len__(self):
        return len(self.array)


class Samples:
    """A map-style dataset of samples without a batch axis."""

    def __len__(self):
        return len(X)

    def __getitem__(self, index):
        return Tensor(X[index]), int(Y[index])


def loader(*fields, size=4):
    for start in range(0, len(X), size):
        yield [Tensor(field[start : start + size]) for field in fields]


UNLABELLED = {
    "tensor": Tensor(X),
    "bfloat16": Tensor(X, "torch.bfloat16"),
    "loader of x": [Tensor(X[:4]), Tensor(X[4:])],
    "loader of (x,)": list(loader(X)),
    "arrays": [X[:4], X[4:]],
    "tuple of batches": (X[:2], X[2:4], X[4:]),
    "samples": list(X),
    "by name": {"image": Tensor(X)},
    "as x": {"x": X},
    "batches by name": [{"image": X[:4]}, {"image": X[4:]}],
    "regression": list(loader(X, X.mean(axis=(1, 2, 3)))),
}
LABELLED = {
    "tuple": (X, Y),
    "tuple of tensors": (Tensor(X), Tensor(Y)),
    "loader of (x, y)": list(loader(X, Y)),
    "tuples": [(X[:4], Y[:4]), (X[4:], Y[4:])],
    "dataset of samples": Samples(),
    "by name": {"x": X, "y": Y},
    "batches by name": [{"image": X[:4], "label": Y[:4]}, {"image": X[4:], "label": Y[4:]}],
}


@pytest.mark.parametrize("kind", UNLABELLED)
def test_inputs_alone(kind):
    data = make_dataset(UNLABELLED[kind], ONE)
    assert (data.feeds["x"] == X).all()
    assert data.labels is None


@pytest.mark.parametrize("kind", LABELLED)
def test_inputs_and_labels(kind):
    data = make_dataset(LABELLED[kind], ONE)
    assert (data.feeds["x"] == X).all()
    assert (data.labels == Y).all()


def test_labels_that_are_given_come_first():
    assert (make_dataset((X, Y), ONE, labels=Tensor(Y[::-1])).labels == Y[::-1]).all()


def test_a_generator_is_read_once():
    data = make_dataset(loader(X, Y), ONE)
    assert (data.labels == Y).all()


def test_a_sample_may_lack_its_batch_axis():
    for sample in (X[3], Tensor(X[3]), {"image": X[3]}):
        assert (make_dataset(sample, ONE).feeds["x"] == X[3:4]).all()


def test_several_inputs_in_order():
    left, right = np.ones((4, 2)), np.zeros((4, 3))
    for source in ((left, right), [(left[:1], right[:1]), (left[1:], right[1:])]):
        data = make_dataset(source, TWO)
        assert {name: x.shape for name, x in data.feeds.items()} == {"a": (4, 2), "b": (4, 3)}
        assert data.labels is None
    data = make_dataset([(left, right, Y[:4])], TWO)
    assert (data.labels == Y[:4]).all()


@pytest.mark.parametrize(
    ("source", "message"),
    [
        (Tensor(X[:, 0]), "input 'image' has shape [6, 2, 2], the model expects (N, 1, 2, 2)"),
        ([(X, Y, Y)], "a batch holds 3 arrays\n  hint: give x, or (x, y)"),
        ([{"image": object()}], "data of type object in place of 'image' are no arrays"),
        (5, "data of type int are no arrays\n  hint: give an array or tensor"),
        ("none.npz", "none.npz: no such file"),
    ],
)
def test_what_does_not_fit(source, message):
    with pytest.raises(InvalidData) as raised:
        make_dataset(source, ONE)
    assert message in str(raised.value)


def test_a_path_is_read(tmp_path):
    np.savez(tmp_path / "d.npz", x=X, y=Y)
    for path in (tmp_path / "d.npz", str(tmp_path / "d.npz")):
        data = make_dataset(path, ONE)
        assert (data.feeds["x"] == X).all()
        assert (data.labels == Y).all()


@pytest.mark.parametrize(
    "source", [X, Tensor(X), (X, Y), list(loader(X, Y)), Samples(), {"x": X, "y": Y}, loader(X, Y)]
)
def test_the_first_sample_leaves_the_source_whole(source):
    (first,), whole = example(source)
    assert (first == X[:1]).all()
    assert len(make_dataset(whole, ONE)) == 6


# --- images ---------------------------------------------------------------------------------------


@pytest.fixture
def folder(tmp_path):
    """Two classes of two images, 8 by 6 pixels, grey values by name."""
    image = pytest.importorskip("PIL.Image")
    for name, value in (("b/1", 10), ("a/2", 20), ("a/10", 30), ("b/3", 255)):
        path = tmp_path / "images" / f"{name}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        image.fromarray(np.full((6, 8), value, np.uint8)).save(path)
    return tmp_path / "images"


def image_graph(*shape):
    text = ",".join(map(str, shape))
    return parse(f'graph @g <stage=ann, steps=0> {{\n  %x : f32[{text}] = input() from "i"\n'
                 "  return %x\n}")  # fmt: skip


def test_images_of_classes_are_read_in_order(folder):
    data = read_dataset(folder, image_graph(1, 6, 8))
    assert (data.labels == [0, 0, 1, 1]).all()
    assert data.feeds["x"][:, 0, 0, 0] == pytest.approx(np.array([30, 20, 10, 255]) / 255)
    assert read_dataset(folder / "b", image_graph(1, 6, 8)).labels is None


def test_images_are_resized_cropped_and_normalised(folder):
    preparation = read_preparation("resize=12,crop=4,mean=0.5+0+1,std=0.5+1+2")
    assert preparation == Preparation(12, 4, (0.5, 0.0, 1.0), (0.5, 1.0, 2.0))
    data = make_dataset(folder / "b", image_graph(3, 4, 4), images=preparation)
    first = data.feeds["x"][0]
    assert first[:, 1, 1] == pytest.approx([(10 / 255 - 0.5) / 0.5, 10 / 255, (10 / 255 - 1) / 2])
    last = make_dataset(folder / "b", image_graph(4, 4, 3), images=preparation).feeds["x"]
    assert (last.transpose(0, 3, 1, 2) == data.feeds["x"]).all()


def test_images_that_do_not_fit(folder, tmp_path):
    with pytest.raises(InvalidData, match=r"10.png: the image becomes \[1, 6, 8\], the model exp"):
        read_dataset(folder, image_graph(1, 8, 8))
    with pytest.raises(InvalidData, match=r"input \[5, 6, 8\] is no image"):
        read_dataset(folder, image_graph(5, 6, 8))
    (folder / "b" / "1.png").write_bytes(b"no image")
    with pytest.raises(InvalidData, match=r"1.png: cannot be read as an image"):
        read_dataset(folder, image_graph(1, 6, 8))
    (tmp_path / "empty").mkdir()
    with pytest.raises(InvalidData, match="empty: holds no images"):
        read_dataset(tmp_path / "empty", image_graph(1, 6, 8))
    with pytest.raises(ParseError, match="has no option 'crp'"):
        read_preparation("crp=3")
