"""Data files: what users give for calibration and test."""

from __future__ import annotations

import hashlib
import zipfile
import zlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spikec.ir import Graph, InvalidData

Array = NDArray[Any]
Source = Array | Mapping[str, Array] | Iterable[Any]
_SOURCES = "give an array, a dict of arrays by ONNX input name, or an iterable of batches of either"


@dataclass(frozen=True, slots=True)
class Dataset:
    """Inputs by input node name, and labels (samples,) where there are any."""

    feeds: dict[str, Array]
    labels: Array | None = None

    def __len__(self) -> int:
        return len(next(iter(self.feeds.values())))

    def pick(self, samples: slice | Array) -> Dataset:
        """Some of the samples."""
        feeds = {name: x[samples] for name, x in self.feeds.items()}
        return Dataset(feeds, None if self.labels is None else self.labels[samples])

    def head(self, limit: int | None) -> Dataset:
        """The first `limit` samples; all when None."""
        return self if limit is None else self.pick(slice(limit))

    def draw(self, samples: int, seed: int) -> Dataset:
        """At most `samples` samples, drawn by the seed and kept in order."""
        if len(self) <= samples:
            return self
        drawn = np.random.default_rng(seed).choice(len(self), samples, replace=False)
        return self.pick(np.sort(drawn))

    def digest(self) -> str:
        """SHA-256 of all inputs."""
        found = hashlib.sha256()
        for name in sorted(self.feeds):
            x = np.ascontiguousarray(self.feeds[name])
            found.update(f"{name} {x.dtype.str} {x.shape}".encode())
            found.update(x.tobytes())
        return found.hexdigest()


def read_dataset(path: str | Path, graph: Graph, *, labels: bool = True) -> Dataset:
    """Read `.npz` (`x` and `y`, or one array per ONNX input) or `.npy` (x alone).

    Raises:
        InvalidData: when the file or its arrays do not fit the graph's inputs.
    """
    path = Path(path)
    inputs = {node.loc or node.name for node in graph.inputs}
    try:
        loaded = _arrays(path, {"x"} | inputs | ({"y"} if labels else set()))
    except FileNotFoundError:
        raise InvalidData("no such file", loc=str(path)) from None
    except (OSError, ValueError, EOFError, zipfile.BadZipFile, zlib.error, MemoryError) as error:
        first = (str(error) or type(error).__name__).splitlines()[0]
        raise InvalidData(f"cannot be read as .npz or .npy: {first}", loc=str(path)) from None
    if isinstance(loaded, np.ndarray):
        return make_dataset(loaded, graph, file=path.name)
    arrays = loaded
    found = arrays.pop("y", None) if "y" not in inputs else None
    source: Source = arrays["x"] if "x" in arrays and len(graph.inputs) == 1 else arrays
    return make_dataset(source, graph, labels=found, file=path.name)


def _arrays(path: Path, wanted: set[str]) -> Array | dict[str, Array]:
    """The one array of an .npy, mapped, or the wanted arrays of an .npz."""
    if path.suffix == ".npy":
        mapped: Array = np.load(path, allow_pickle=False, mmap_mode="r")
        return mapped
    with path.open("rb") as file:
        loaded = np.load(file, allow_pickle=False)
        if isinstance(loaded, np.ndarray):
            return loaded
        arrays = {name: loaded[name] for name in loaded.files if name in wanted}
    for name, array in arrays.items():
        if not isinstance(array, np.ndarray):
            raise ValueError(f"{name} is not an array")
    return arrays


def make_dataset(
    source: Source | Dataset, graph: Graph, *, labels: Array | None = None, file: str | None = None
) -> Dataset:
    """Arrays (or an iterable of batches) as inputs of a graph; a dataset is returned as it is.

    Args:
        source: One array for a graph with one input; a mapping from ONNX input name to array; or
            an iterable of either.
        graph: Whose inputs to feed.
        labels: (samples,) integers.
        file: Name for errors.

    Raises:
        InvalidData: for missing inputs, wrong shapes or types, or NaN.
    """
    if isinstance(source, Dataset):
        return source
    if not isinstance(source, (np.ndarray, Mapping)):
        source = _joined(source, file)
    named = source if isinstance(source, Mapping) else {_label(graph): source}
    feeds = {}
    for node in graph.inputs:
        label = node.loc or node.name
        if label not in named:
            have = ", ".join(map(str, named)) or "nothing"
            raise InvalidData(f"holds no array for input '{label}'", loc=file, hint=f"has {have}")
        feeds[node.name] = _checked(named[label], label, node.type.shape, file)
    sizes = {len(x) for x in feeds.values()}
    if len(sizes) != 1:
        raise InvalidData("inputs hold different numbers of samples", loc=file)
    if labels is not None:
        labels = _checked_labels(labels, sizes.pop(), file)
    return Dataset(feeds, labels)


def _label(graph: Graph) -> str:
    if len(graph.inputs) != 1:
        names = ", ".join(node.loc or node.name for node in graph.inputs)
        raise InvalidData("the model has several inputs", hint=f"give arrays named {names}")
    return graph.inputs[0].loc or graph.inputs[0].name


def _joined(batches: Iterable[Any], file: str | None) -> Array | dict[str, Array]:
    if isinstance(batches, str | bytes | Path) or not isinstance(batches, Iterable):
        raise InvalidData(
            f"data of type {type(batches).__name__} are no arrays", loc=file, hint=_SOURCES
        )
    parts = list(batches)
    if not parts:
        raise InvalidData("no batches were given", loc=file)
    try:
        if isinstance(parts[0], Mapping):
            return {key: np.concatenate([part[key] for part in parts]) for key in parts[0]}
        return np.concatenate([np.asarray(part) for part in parts])
    except (ValueError, TypeError, LookupError) as error:
        first = str(error).splitlines()[0]
        raise InvalidData(f"the batches do not fit together: {first}", loc=file) from None


def _checked(x: Any, label: str, shape: tuple[int, ...], file: str | None) -> Array:
    x = np.asarray(x) if not isinstance(x, np.ndarray) else x
    if x.dtype.kind not in "fiub":
        raise InvalidData(f"input '{label}' has type {x.dtype}, not numbers", loc=file)
    if x.shape[1:] != shape or x.ndim < 1:
        raise InvalidData(
            f"input '{label}' has shape {list(x.shape)}, the model expects (N, "
            f"{', '.join(map(str, shape))})",
            loc=file,
        )
    if len(x) == 0:
        raise InvalidData(f"input '{label}' holds no samples", loc=file)
    if x.dtype.kind == "f" and not np.isfinite(x).all():
        raise InvalidData(f"input '{label}' holds NaN or infinite values", loc=file)
    return x


def _checked_labels(labels: Array, samples: int, file: str | None) -> Array:
    labels = np.asarray(labels)
    if labels.dtype.kind not in "iu" or labels.shape != (samples,):
        raise InvalidData(
            f"y has shape {list(labels.shape)} and type {labels.dtype}; "
            f"expected {samples} integers",
            loc=file,
        )
    return labels
