"""How an output is judged: by its classes, or by how far its numbers are off."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from spikec.ir import Graph, UsageError
from spikec.ir.options import suggestion
from spikec.options import Metric
from spikec.report.schema import OutputResult

Array = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Output:
    """One output among those that stand side by side.

    Attributes:
        name: Its ONNX name.
        shape: Without the batch axis.
        metric: `argmax`: its classes are compared, for each element where there are other axes;
            `relative`: its numbers.
        places: Its columns.
        axis: Of its classes, where that is known; else channels, or the last of two axes.
    """

    name: str
    shape: tuple[int, ...]
    metric: Metric
    places: slice
    axis: int | None = None

    def part(self, side_by_side: Array) -> Array:
        """This output (samples, *shape) out of all of them (samples, values)."""
        return side_by_side[:, self.places].reshape(-1, *self.shape)

    def classes(self, side_by_side: Array) -> NDArray[np.int64]:
        """The classes (samples, *elements)."""
        usual = 1 if len(self.shape) == 2 else 0
        axis = usual if self.axis is None else self.axis
        return np.asarray(self.part(side_by_side).argmax(axis=axis + 1))

    def lost(self, given: Array, wanted: Array) -> Array:
        """What each sample loses, from 0 to 1: classes that differ, or error over deviation."""
        if self.metric == "argmax":
            other = self.classes(given) != self.classes(wanted)
            return np.asarray(other.reshape(len(other), -1).mean(axis=1))
        a, b = (self.part(y).reshape(len(y), -1) for y in (given, wanted))
        error = np.sqrt(((a - b) ** 2).mean(axis=1)) / _spread(b)
        return np.minimum(error, 1.0)

    def result(self, given: Array, wanted: Array) -> OutputResult:
        """All figures against the ANN's output."""
        a, b = (self.part(y).reshape(len(y), -1) for y in (given, wanted))
        agrees = 1.0 - float(self.lost(given, wanted).mean()) if self.metric == "argmax" else None
        return OutputResult(
            name=self.name,
            metric=self.metric,
            agreement=agrees,
            relative_error=deviation(a, b),
            max_error=float(abs(a - b).max()),
            correlation=_correlation(a, b),
        )


def outputs_of(
    graph: Graph,
    names: Sequence[str],
    metrics: Mapping[str, Metric],
    ann: Graph | None = None,
    class_axes: Mapping[str, int] | None = None,
) -> list[Output]:
    """The outputs of a graph.

    An output is one of classes where that is stated; else where a softmax or ArgMax was cut off
    behind it, or where it has one axis with several values. Of several outputs, one of one axis
    that ends in a function that is not linear is none of classes: an action between bounds beside
    the scores.

    Args:
        graph: The ANN's or a spiking one.
        names: Their ONNX names, in order.
        metrics: Those that are stated, by name.
        ann: The imported ANN, whose last operations tell classes from numbers.
        class_axes: Axes of classes that are known, by name.

    Raises:
        UsageError: for a metric of an output that there is not.
    """
    for name in metrics:
        if name not in names:
            hint = suggestion(name, names) or f"one of {', '.join(names)}"
            raise UsageError(f"there is no output '{name}' for a metric", hint=hint)
    outputs, start = [], 0
    ends = graph.outputs if ann is None else ann.outputs
    for name, node, end in zip(names, graph.outputs, ends, strict=True):
        shape = graph[node].type.shape
        bounded = len(names) > 1 and ann is not None and not ann[end].operation.linear
        axis = (class_axes or {}).get(name)
        scores = len(shape) == 1 and shape[0] > 1 and not bounded
        plain: Metric = "argmax" if scores or axis is not None else "relative"
        size = graph[node].type.size
        places = slice(start, start + size)
        outputs.append(Output(name, shape, metrics.get(name, plain), places, axis))
        start += size
    return outputs


def notes_of_metrics(outputs: Sequence[Output]) -> list[str]:
    """How outputs of several axes could be judged otherwise, where they may hold classes."""
    names = [o.name for o in outputs if o.metric == "relative" and len(o.shape) > 1]
    if not names:
        return []
    return [
        f"judged by their numbers: {', '.join(names)}; where channels (of two axes the last one) "
        f"are classes, say --metric {names[0]}=argmax"
    ]


def classifier(outputs: Sequence[Output]) -> Output | None:
    """The one output whose classes labels can name; None where there is none or are several."""
    own = [out for out in outputs if out.metric == "argmax" and len(out.shape) == 1]
    return own[0] if len(own) == 1 else None


def accuracy(
    outputs: Sequence[Output], given: Array, labels: NDArray[np.int64] | None
) -> float | None:
    """Share of samples with the class that their label names; None where labels name none."""
    own = classifier(outputs)
    if labels is None or own is None:
        return None
    return float((own.classes(given) == labels).mean())


def doubts_of_labels(outputs: Sequence[Output], labels: NDArray[np.int64] | None) -> list[str]:
    """That labels are no classes of the output that they should name, where that is so."""
    own = classifier(outputs)
    if labels is None or own is None:
        return []
    classes, low, high = own.shape[0], int(labels.min()), int(labels.max())
    if low >= 0 and high < classes:
        return []
    if (low, high) == (1, classes):
        return [
            f"labels run from 1 to {classes}, the classes of '{own.name}' from 0 to {classes - 1}: "
            "subtract 1 from y"
        ]
    wrong = int(((labels < 0) | (labels >= classes)).sum())
    return [
        f"{wrong} of {len(labels)} labels are none of the classes 0 to {classes - 1} of "
        f"'{own.name}': they count as wrong"
    ]


def agreement(outputs: Sequence[Output], given: Array, wanted: Array) -> float | None:
    """Share of classes that the ANN gives, too, mean over outputs of classes; None without any."""
    of_classes = [out for out in outputs if out.metric == "argmax"]
    if not of_classes:
        return None
    return float(np.mean([1.0 - out.lost(given, wanted).mean() for out in of_classes]))


def losses(outputs: Sequence[Output], given: Array, wanted: Array) -> Array:
    """What each sample loses against the ANN, from 0 to 1, mean over outputs."""
    return np.asarray(np.mean([out.lost(given, wanted) for out in outputs], axis=0))


def deviation(given: Array, wanted: Array) -> float:
    """Root mean square of the difference over the standard deviation of what is wanted."""
    return float(np.sqrt(np.mean((given - wanted) ** 2)) / _spread(wanted))


def _spread(wanted: Array) -> float:
    spread = float(np.sqrt(np.mean((wanted - wanted.mean(axis=0)) ** 2)))
    size = float(np.sqrt(np.mean(wanted**2)))
    return max(spread, 0.05 * size, 1e-30)  # where an output hardly depends on the input


def _correlation(given: Array, wanted: Array) -> float | None:
    """Of all elements about their means over samples; None where nothing varies."""
    a, b = (y - y.mean(axis=0) for y in (given, wanted))
    size = float(np.sqrt((a**2).sum() * (b**2).sum()))
    return float((a * b).sum() / size) if size > 0 else None
