"""Data as people have them: arrays, tensors, loaders and generators become arrays by field.

A field is an input or the labels: keyed by name in a mapping, by place in a tuple. Tensors are
known by what they can do (`detach`, `__array__`), so that no framework is imported.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import numpy as np

from spikec.ir import InvalidData
from spikec.ir.types import Array

S = TypeVar("S")
Fields = dict[Hashable, Array]
Shapes = Mapping[str, tuple[int, ...]]
"""The model's inputs by ONNX name, in order, without the batch axis; `ANY` for frames."""
ANY = -1
"""The size of an axis that may have any."""
LABELS = ("y", "label", "labels", "target", "targets")
"""What labels are called in a mapping, unless an input is called so."""
ALONE = "x"
"""What the input of a model with one input may be called."""
_SOURCES = (
    "give an array or tensor, a dict of them by ONNX input name, a path, or an iterable (such as a "
    "DataLoader) of batches x, (x,) or (x, y)"
)


@dataclass(frozen=True, slots=True)
class Collected:
    """All samples of a source.

    Attributes:
        inputs: By ONNX name.
        labels: Integers (samples,), where the source has some.
    """

    inputs: dict[str, Array]
    labels: Array | None


def as_array(value: object) -> Array | None:
    """An array of what is one: of NumPy, a tensor, or anything else with `__array__`."""
    if isinstance(value, np.ndarray):
        return value
    detach = getattr(value, "detach", None)
    if callable(detach):
        tensor = detach().cpu()
        if str(tensor.dtype).endswith("bfloat16"):  # NumPy has no such type
            tensor = tensor.float()
        value = tensor.numpy()
    if hasattr(value, "__array__") or hasattr(value, "__array_interface__"):
        return np.asarray(value)
    return None


def collect(source: object, shapes: Shapes) -> Collected:
    """All samples of a source.

    Args:
        source: One array; a mapping of arrays; a tuple of all inputs, then labels if any; or an
            iterable of such batches, or of single samples without a batch axis.
        shapes: The inputs that are wanted.

    Raises:
        InvalidData: for what is no data, and batches that do not fit together.
    """
    whole = _whole(source, shapes)
    batches = [whole] if whole is not None else [_batch(item) for item in _items(source)]
    if not batches:
        raise InvalidData("no batches were given")
    named = [_named(batch, shapes) for batch in batches]
    fitting = [_with_batch_axis(batch, shapes, alone=whole is None) for batch in named]
    first = fitting[0]
    try:
        joined = first
        if len(fitting) > 1:
            joined = {key: np.concatenate([batch[key] for batch in fitting]) for key in first}
    except (ValueError, TypeError, LookupError) as error:
        text = str(error).splitlines()[0]
        raise InvalidData(f"the batches do not fit together: {text}") from None
    inputs = {str(key): value for key, value in joined.items() if key is not None}
    labels = joined.get(None)
    usable = labels is not None and labels.dtype.kind in "iu" and labels.ndim == 1
    return Collected(inputs, labels if usable else None)


def fits(shape: tuple[int, ...], wanted: tuple[int, ...]) -> bool:
    """Whether a shape is the one that is wanted."""
    pairs = zip(shape, wanted, strict=False)
    return len(shape) == len(wanted) and all(b in (a, ANY) for a, b in pairs)


def example(source: S) -> tuple[list[Array], S | list[object]]:
    """The first sample of each field that is no label, and the source, still whole."""
    whole, batches = _whole(source, None), list[object]()
    if whole is None:
        batches = list(_items(source))
        if not batches:
            raise InvalidData("no batches were given")
        whole = _batch(batches[0])
    inputs = {key: v for key, v in whole.items() if not _is_label(key, v, whole)}
    single = any(v.ndim == 0 for v in whole.values())
    return [v[None] if single else v[:1] for v in inputs.values()], batches or source


def _is_label(key: Hashable, value: Array, batch: Fields) -> bool:
    if isinstance(key, str):
        return key in LABELS
    last = key == len(batch) - 1 and len(batch) > 1
    return last and value.ndim <= 1 and value.dtype.kind in "iu"


def _whole(source: object, shapes: Shapes | None) -> Fields | None:
    """The fields of a source that is one batch."""
    array = as_array(source)
    if array is not None:
        return {0: array}
    if isinstance(source, Mapping):
        return _batch(source)
    if isinstance(source, tuple) and all(as_array(value) is not None for value in source):
        fields = _batch(source)
        last = len(fields) - 1
        inputs = len(shapes) if shapes is not None else last
        if len(fields) == inputs > 1:
            return fields
        if len(fields) == inputs + 1 and _is_label(last, fields[last], fields):
            return fields
    return None


def _items(source: object) -> Iterator[object]:
    """The batches of an iterable, or of a dataset that has only length and index."""
    if isinstance(source, str | bytes | Path) or source is None:
        raise InvalidData(f"data of type {type(source).__name__} are no arrays", hint=_SOURCES)
    if isinstance(source, Iterable):
        yield from source
    elif hasattr(source, "__getitem__") and hasattr(source, "__len__"):
        for index in range(len(source)):
            yield source[index]
    else:
        raise InvalidData(f"data of type {type(source).__name__} are no arrays", hint=_SOURCES)


def _batch(item: object) -> Fields:
    """The fields of one batch or sample."""
    array = as_array(item)
    if array is not None:
        return {0: array}
    if isinstance(item, Mapping):
        return {key: _required(value, key) for key, value in item.items()}
    if isinstance(item, Sequence) and any(as_array(value) is not None for value in item):
        return {place: _required(value, place) for place, value in enumerate(item)}
    return {0: _required(item, 0)}


def _required(value: object, key: Hashable) -> Array:
    array = as_array(value)
    if array is None:
        try:
            array = np.asarray(value)
        except ValueError as error:
            text = str(error).splitlines()[0]
            raise InvalidData(f"the batches do not fit together: {text}") from None
    if array.dtype == object:
        kind = type(value).__name__
        raise InvalidData(f"data of type {kind} in place of '{key}' are no arrays", hint=_SOURCES)
    return array


def _named(batch: Fields, shapes: Shapes) -> Fields:
    """The fields by the inputs' names; labels under None."""
    names = list(shapes)
    if not batch:
        return {}
    if not all(isinstance(key, int) for key in batch):
        labels = [key for key in batch if key in LABELS and key not in names]
        renamed: dict[Hashable, Hashable] = dict.fromkeys(labels)
        if len(names) == 1 and ALONE in batch and names[0] not in batch:
            renamed[ALONE] = names[0]
        return {renamed.get(key, key): value for key, value in batch.items()}
    if len(batch) == len(names) + 1:
        return dict(zip([*names, None], batch.values(), strict=True))
    if len(batch) != len(names):
        one = len(names) == 1
        raise InvalidData(
            "the model has several inputs" if not one else f"a batch holds {len(batch)} arrays",
            hint=f"give arrays named {', '.join(names)}" if not one else "give x, or (x, y)",
        )
    return dict(zip(names, batch.values(), strict=True))


def _with_batch_axis(batch: Fields, shapes: Shapes, *, alone: bool) -> Fields:
    """A batch; one sample without its batch axis gets one.

    One of frames only where samples come `alone`: else it may be samples without frames.
    """
    if not alone and any(ANY in shape for shape in shapes.values()):
        return batch
    inputs = {key: value for key, value in batch.items() if key in shapes}
    single = bool(inputs) and all(fits(v.shape, shapes[str(key)]) for key, v in inputs.items())
    return {key: value[None] if single else value for key, value in batch.items()}
