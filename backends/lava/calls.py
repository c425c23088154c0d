"""What the processes of an emitted project are made of, as data; `code.py` writes it as Python."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

from spikec.ir.windows import Window

Interval = tuple[int, int]
"""Smallest and largest value possible, by worst case over the weights; always holds 0."""


@dataclass(frozen=True, slots=True)
class InputSource:
    """A graded input, which the host sends in every step.

    Attributes:
        name: Of the graph's input.
        shape: Of a value.
        timed: Whether each step has a value of its own.
    """

    name: str
    shape: tuple[int, ...]
    timed: bool


@dataclass(frozen=True, slots=True)
class ConstantSource:
    """A current that flows all the time.

    Attributes:
        weights: Key of its values in `weights.npz`.
    """

    weights: str


@dataclass(frozen=True, slots=True)
class Synapse:
    """Weighted connections; delivers one step late.

    Attributes:
        title: Name of the process in Lava.
        weights: Key in `weights.npz`; of a sparse matrix what its keys begin with.
        exponent: Sums are shifted left by so many bits.
    """

    title: str
    weights: str
    exponent: int = 0


@dataclass(frozen=True, slots=True)
class Dense(Synapse):
    """A matrix."""


@dataclass(frozen=True, slots=True)
class OneToOne(Synapse):
    """One synapse per neuron.

    Attributes:
        delay: Steps that it waits besides its own.
    """

    delay: int = 0


@dataclass(frozen=True, slots=True)
class Sparse(Synapse):
    """A matrix of which most is zero."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Convolution(Synapse):
    """A convolution.

    Attributes:
        shape: Of its input.
        window: Its geometry.
        groups: Of channels.
        stock: Whether Lava's Conv computes it; else it is unrolled into a sparse matrix.
    """

    shape: tuple[int, ...]
    window: Window
    groups: int
    stock: bool


@dataclass(frozen=True, slots=True)
class Delay:
    """Passes values on later.

    Attributes:
        title: Name of the process in Lava.
        size: Values.
        steps: How much later.
    """

    title: str
    size: int
    steps: int


@dataclass(frozen=True, slots=True)
class Layer:
    """Neurons, pooling or a readout.

    Attributes:
        kind: Class of the project.
        title: The graph node, and the name of the process in Lava.
        shape: Of its neurons.
        in_shape: Of what it pools; None for others.
        params: Role and key in `weights.npz`.
        attributes: Of the op.
        offset: Steps from the input to it.
        limits: What potentials are held against; None for the 24 bits that all have.
    """

    kind: str
    title: str
    shape: tuple[int, ...]
    in_shape: tuple[int, ...] | None
    params: tuple[tuple[str, str], ...]
    attributes: tuple[tuple[str, object], ...]
    offset: int
    limits: Interval | None


@dataclass(frozen=True, slots=True)
class StockLayer(Layer):
    """A layer that Lava's ATRLIF computes exactly.

    Attributes:
        bias_as_input: Whether its bias comes with the input.
    """

    bias_as_input: bool = False


Source: TypeAlias = InputSource | ConstantSource
Call: TypeAlias = Source | Synapse | Delay | Layer
