"""The values of an ONNX model as the import sees them: constants, and tensors of the graph."""

from __future__ import annotations

from dataclasses import dataclass

from spikec.ir.types import Array

MOST_ELEMENTS = 1 << 28
"""Most elements that a value may have, and all folded constants together."""

Constant = Array


@dataclass(frozen=True, slots=True)
class Grid:
    """Integers of the model that stand for real values: real = (integer - zero) * scale.

    Attributes:
        scale: One for the tensor, or one per element of `axis`.
        zero: As many.
        axis: Axis per sample.
    """

    scale: tuple[float, ...] = (1.0,)
    zero: tuple[int, ...] = (0,)
    axis: int = 0


@dataclass(frozen=True, slots=True)
class Tail:
    """An operator cut off at the end.

    Attributes:
        operator: It and its name.
        value: The ONNX value that it reads.
        classes: The axis per sample along which it chooses or weighs classes, if it does.
    """

    operator: str
    value: str
    classes: int | None = None


@dataclass(frozen=True, slots=True)
class Tensor:
    """A value of the graph being built.

    Attributes:
        name: Its node in the graph.
        shape: Per sample: the ONNX shape without the batch axis. The graph's node has at least
            one axis: a number per sample is a value of shape (1,) there.
        batch: Where the batch axis stands in the ONNX value; None where a batch of one was
            dissolved into the axes of the sample.
        tail: Set behind a cut-off operator.
        grid: Set where the ONNX value holds integers; the graph's node holds the reals.
    """

    name: str
    shape: tuple[int, ...]
    batch: int | None = 0
    tail: Tail | None = None
    grid: Grid | None = None

    @property
    def rank(self) -> int:
        """Number of axes of the ONNX value."""
        return len(self.shape) + (self.batch is not None)


Value = Tensor | Constant
