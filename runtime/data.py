"""Data files: what users give for calibration and test."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np

from spikec.ir import Graph, InvalidData, Node, op_of
from spikec.ir.ops.input import Input
from spikec.ir.reading import is_npy, map_npy, npz_shapes, read_npz
from spikec.ir.types import Array
from spikec.runtime.images import Preparation, read_images
from spikec.runtime.memory import budget
from spikec.runtime.sources import ANY, as_array, collect, fits

Source: TypeAlias = "Array | Mapping[str, Any] | Iterable[Any] | str | Path"
"""What data can be given as; see `spikec.runtime.sources`."""


@dataclass(frozen=True, slots=True)
class Dataset:
    """Inputs by input node name, and labels (samples,) where there are any.

    Attributes:
        feeds: Each (samples, *shape), or (samples, frames, *shape).
        labels: Classes.
        frames: Names of those with frames.
    """

    feeds: dict[str, Array]
    labels: Array | None = None
    frames: frozenset[str] = frozenset()

    def __len__(self) -> int:
        return len(next(iter(self.feeds.values())))

    def pick(self, samples: slice | Array) -> Dataset:
        """Some of the samples."""
        feeds = {name: x[samples] for name, x in self.feeds.items()}
        labels = None if self.labels is None else self.labels[samples]
        return replace(self, feeds=feeds, labels=labels)

    def first_frames(self, steps: int) -> Dataset:
        """With no more frames than a run of so many steps reads."""
        if not self.frames:
            return self
        feeds = {n: x[:, :steps] if n in self.frames else x for n, x in self.feeds.items()}
        return replace(self, feeds=feeds)

    def head(self, limit: int | None) -> Dataset:
        """The first `limit` samples; all when None."""
        return self if limit is None else self.pick(slice(limit))

    def draw(self, samples: int, seed: int) -> Dataset:
        """At most `samples` samples, drawn by the seed and kept in order."""
        return self.split(samples, seed)[0]

    def split(self, samples: int, seed: int) -> tuple[Dataset, Dataset | None]:
        """What `draw` gives, and the rest where there is one."""
        if len(self) <= samples:
            return self, None
        drawn = np.random.default_rng(seed).choice(len(self), samples, replace=False)
        rest = np.setdiff1d(np.arange(len(self)), drawn)
        return self.pick(np.sort(drawn)), self.pick(rest)

    def digest(self) -> str:
        """SHA-256 of all inputs."""
        total = hashlib.sha256()
        for name in sorted(self.feeds):
            x = np.ascontiguousarray(self.feeds[name])
            total.update(f"{name} {x.dtype.str} {x.shape}".encode())
            total.update(x.tobytes())
        return total.hexdigest()


def read_dataset(
    path: str | Path, graph: Graph, *, labels: bool = True, images: Preparation | None = None
) -> Dataset:
    """Read `.npz` (`x` and `y`, or one array per ONNX input), `.npy` (x alone) or images.

    Args:
        path: A file, or a folder of images (of one folder per class, for labels).
        graph: Whose inputs to feed.
        labels: Whether labels are wanted.
        images: What to do with images.

    Raises:
        InvalidData: when the file or its arrays do not fit the graph's inputs.
    """
    path = Path(path)
    if path.is_dir():
        if len(graph.inputs) != 1:
            raise InvalidData("the model has several inputs, images are one", loc=str(path))
        if _timed(graph.inputs[0]):
            raise InvalidData("a folder of images holds no frames", loc=str(path))
        x, classes = read_images(path, graph.inputs[0].type.shape, images or Preparation())
        return make_dataset(x, graph, labels=classes if labels else None, file=path.name)
    inputs = {node.loc or node.name for node in graph.inputs}
    names = _names(path, graph)
    y = "y" if names is None else names[1]
    loaded = _arrays(path, ({"x"} if names is None else {names[0]}) | inputs | {y} - {""})
    if isinstance(loaded, np.ndarray):
        return make_dataset(loaded, graph, file=path.name)
    given = loaded.pop(y, None) if y not in inputs else None
    if names is not None:
        loaded["x"] = loaded.pop(names[0])
    return make_dataset(loaded, graph, labels=given if labels else None, file=path.name)


def _names(path: Path, graph: Graph) -> tuple[str, str] | None:
    """Names of the inputs and labels (or "") in an .npz where they are not called as usual.

    Taken is the one array that has the input's shape, and the labels that belong to its name:
    `x_test` and `y_test`, `images` and `labels`, `arr_0` and `arr_1`.

    Raises:
        InvalidData: where none or several could be the inputs, with all that there are.
    """
    if len(graph.inputs) != 1 or is_npy(path, error=InvalidData):
        return None
    (node,) = graph.inputs
    shapes = npz_shapes(path, error=InvalidData)
    if {"x", node.loc or node.name} & shapes.keys():
        return None
    rank = 1 + _timed(node)
    fitting = [
        name
        for name, shape in shapes.items()
        if len(shape) >= rank and shape[rank:] == node.type.shape
    ]
    if len(fitting) != 1:
        have = ", ".join(f"{name} {list(shape)}" for name, shape in shapes.items()) or "nothing"
        which = f"one of {', '.join(fitting)} as x" if fitting else "the inputs as x"
        raise InvalidData(
            f"holds no array for input '{node.loc or node.name}'",
            loc=path.name,
            hint=f"it has {have}; save {which}",
        )
    (x,) = fitting
    pairs = {"images": "labels", "arr_0": "arr_1", "inputs": "targets", "data": "labels"}
    wanted = pairs.get(x, "y" + x[1:] if x[:1] in "xX" else "labels")
    return x, next((name for name in (wanted, "y", "labels") if name in shapes), "")


def read_x(path: Path) -> Array:
    """The array `x` of a data file, whatever its shape."""
    loaded = _arrays(path, {"x"})
    if isinstance(loaded, np.ndarray):
        return loaded
    if "x" not in loaded:
        raise InvalidData("holds no array 'x'", loc=str(path))
    return loaded["x"]


def _arrays(path: Path, wanted: set[str]) -> Array | dict[str, Array]:
    """The one array of an .npy, mapped, or the wanted arrays of an .npz; raises InvalidData."""
    if is_npy(path, error=InvalidData):
        return map_npy(path, error=InvalidData)
    hint = "save x as .npy, of which no more is read than is used"
    return read_npz(path, wanted, most=budget(), hint=hint, error=InvalidData)


def make_dataset(
    source: Source | Dataset,
    graph: Graph,
    *,
    labels: Array | None = None,
    images: Preparation | None = None,
    file: str | None = None,
) -> Dataset:
    """Data as inputs of a graph; a dataset is returned as it is.

    Args:
        source: An array or tensor; a mapping of them by ONNX input name; a path; or an iterable of
            batches x, (x,) or (x, y), such as a DataLoader. A sample may lack its batch axis.
        graph: Whose inputs to feed.
        labels: (samples,) integers; they come before those that the source holds.
        images: What to do with images, where the source is a folder of them.
        file: Name for errors.

    Raises:
        InvalidData: for missing inputs, wrong shapes or types, or NaN.
    """
    if isinstance(source, Dataset):
        return source
    if isinstance(source, str | Path):
        return read_dataset(source, graph, images=images)
    shapes = {
        node.loc or node.name: ((ANY,) if _timed(node) else ()) + node.type.shape
        for node in graph.inputs
    }
    try:
        collected = collect(source, shapes)
    except InvalidData as error:
        error.loc = error.loc or file
        raise
    feeds = {}
    for node in graph.inputs:
        label = node.loc or node.name
        if label not in collected.inputs:
            have = ", ".join(collected.inputs) or "nothing"
            raise InvalidData(f"holds no array for input '{label}'", loc=file, hint=f"has {have}")
        feeds[node.name] = _checked(collected.inputs[label], label, shapes[label], file)
    sizes = {len(x) for x in feeds.values()}
    if len(sizes) != 1:
        raise InvalidData("inputs hold different numbers of samples", loc=file)
    frames = frozenset(node.name for node in graph.inputs if _timed(node))
    if labels is not None:
        return Dataset(feeds, _checked_labels(labels, sizes.pop(), file), frames)
    own = collected.labels
    return Dataset(feeds, own if own is not None and len(own) in sizes else None, frames)


def _timed(node: Node) -> bool:
    return op_of(node, Input).timed


def _checked(x: Any, label: str, shape: tuple[int, ...], file: str | None) -> Array:
    x = np.asarray(x) if not isinstance(x, np.ndarray) else x
    if x.dtype.kind not in "fiub":
        raise InvalidData(f"input '{label}' has type {x.dtype}, not numbers", loc=file)
    if x.ndim < 1 or not fits(x.shape[1:], shape):
        sizes = ", ".join("frames" if size == ANY else str(size) for size in shape)
        raise InvalidData(
            f"input '{label}' has shape {list(x.shape)}, the model expects (N, {sizes})",
            loc=file,
        )
    if len(x) == 0:
        raise InvalidData(f"input '{label}' holds no samples", loc=file)
    if x.dtype.kind == "f" and not all(np.isfinite(sample).all() for sample in x):
        raise InvalidData(f"input '{label}' holds NaN or infinite values", loc=file)
    return x


def _checked_labels(labels: Array, samples: int, file: str | None) -> Array:
    """Labels (samples,) as integers: also of (samples, 1), one-hot, or whole floats and bools."""
    array = as_array(labels)
    given = np.asarray(labels) if array is None else array
    labels = given
    if labels.ndim == 2 and labels.shape[1] == 1:
        labels = labels[:, 0]
    elif labels.ndim == 2 and labels.dtype.kind in "iufb" and _one_hot(labels):
        labels = labels.argmax(axis=1)
    if labels.dtype.kind == "b" or (labels.dtype.kind == "f" and (labels % 1 == 0).all()):
        labels = labels.astype(np.int64)
    if labels.dtype.kind not in "iu" or labels.shape != (samples,):
        raise InvalidData(
            f"y has shape {list(given.shape)} and type {given.dtype}; "
            f"expected {samples} integers, or as many rows of one 1",
            loc=file,
            hint="labels are classes; leave out y that holds numbers to come near to: outputs that "
            "are no classes are compared with the ANN's (--model)",
        )
    return labels


def _one_hot(labels: Array) -> bool:
    return bool(((labels == 0) | (labels == 1)).all() and (labels.sum(axis=1) == 1).all())
