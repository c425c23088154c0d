"""The steps of a plan."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from spikec.ir import Graph, Node
from spikec.ir.exact import magnitude
from spikec.ir.types import Array
from spikec.runtime.fast.images import Image, Rows
from spikec.runtime.fast.layer import Layer, NeuronSpec
from spikec.runtime.fast.match import Sum
from spikec.runtime.fast.words import Coding


@dataclass(frozen=True, eq=False)
class Fire:
    """Compiled synapses, joins and neurons, or (`spec` None) the currents of a node.

    With `keeps` layers that follow add up its sums.
    """

    node: Node
    sum: Sum
    spec: NeuronSpec | None
    bias: Array
    layer: Layer | None = None
    rows: Rows | None = None
    keeps: bool = False

    @property
    def reach(self) -> int:
        """Upper bound of the absolute current of a step, bias included."""
        spikes = max(-self.sum.low.min(), self.sum.high.max(), 0)
        return int(spikes) + magnitude(self.sum.bias) + magnitude(self.bias)

    @property
    def sources(self) -> set[str]:
        """Names of the values that its synapses read."""
        return {s.source.name for s in self.sum.synapses}

    @property
    def current(self) -> str:
        """The node that its sum is."""
        return self.node.name if self.spec is None else self.node.inputs[0]


@dataclass(frozen=True, eq=False)
class Pool:
    """Pooling of words: their sums, or the maxima of running counts."""

    node: Node
    window: Array
    below: str


@dataclass(frozen=True, eq=False)
class View:
    """A reshape that compiled layers look through; only its events are asked for."""

    node: Node


@dataclass(frozen=True, eq=False)
class Simple:
    """A node that is run by its op on plain arrays."""

    node: Node


Step = Fire | Pool | View | Simple


@dataclass(frozen=True, eq=False)
class Plan:
    """How the engine runs a graph for some number of steps.

    Attributes:
        graph: The graph; stage int.
        steps: T.
        program: Steps in order.
        codings: Of the values that some step reads as words.
        images: Of the values that some step reads or writes as bytes of images, if any: the plan is
            one for few samples.
        last: For each step's node, values that nothing after it reads.
        counted: Values whose events are reported.
        serial: Whether steps use threads of their own.
        room: Bytes that a block takes where most is held: 32 samples, or one of images.
    """

    graph: Graph
    steps: int
    program: tuple[Step, ...]
    codings: dict[str, Coding]
    images: dict[str, Image]
    last: Mapping[str, list[str]]
    counted: frozenset[str]
    serial: bool
    room: int = 1


def reads(step: Step) -> set[str]:
    """Names of the values that a step reads."""
    if isinstance(step, Fire):
        return step.sources | {current.name for current in step.sum.currents}
    return set() if isinstance(step, View) else set(step.node.inputs)
