"""Which values are needed at the same time, and where each lies in memory that they share."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from spikec.backends.lowering.records import Layer, Plan, Spikes, Stage


@dataclass(frozen=True, slots=True)
class Lifetime:
    """First and last stage, by number, at which a value is needed."""

    first: int
    last: int

    def meets(self, other: Lifetime) -> bool:
        """Whether both are needed at some stage."""
        return self.first <= other.last and other.first <= self.last


def lifetimes(plan: Plan) -> dict[str, Lifetime]:
    """For each stage's result, from the stage that makes it to the last one that reads it."""
    lives: dict[str, Lifetime] = {}
    for number, stage in enumerate(plan.stages):
        lives[stage.result.name] = Lifetime(number, number)
        for source in stage.sources:
            if source.name in lives:
                lives[source.name] = Lifetime(lives[source.name].first, number)
    return lives


def replaced(stage: Stage, number: int, lives: Mapping[str, Lifetime]) -> str | None:
    """The value whose memory a layer's result may take, element by element, while it is read.

    It must be read last by this layer, of the same shape, and only at each neuron's own place;
    the payloads of its planes must be the first of the result's.
    """
    if not isinstance(stage, Layer) or not isinstance(stage.result.coding, Spikes):
        return None
    for source in stage.sources:
        planes = source.coding.payloads if isinstance(source.coding, Spikes) else None
        same = source.shape == stage.result.shape and planes is not None
        same = same and stage.result.coding.payloads[: len(planes or ())] == planes
        ends = source.name in lives and lives[source.name].last == number
        readers = [term for term in stage.terms if term.source.name == source.name]
        if same and ends and all(term.pointwise for term in readers):
            return source.name
    return None


@dataclass(frozen=True, slots=True)
class Block:
    """Memory that one or several values, one after the other, take as a whole.

    Attributes:
        values: Their names.
        size: In elements.
        life: When it is needed.
    """

    values: tuple[str, ...]
    size: int
    life: Lifetime


def pack(blocks: Sequence[Block]) -> tuple[dict[str, int], int]:
    """Offsets of all values and the size of the memory that holds all blocks.

    Large blocks are placed first, each at the lowest place where no other block lies that is
    needed at the same time.
    """
    placed: list[tuple[int, Block]] = []
    for block in sorted(blocks, key=lambda b: (-b.size, b.life.first)):
        others = sorted(
            (at, at + other.size) for at, other in placed if other.life.meets(block.life)
        )
        offset = 0
        for begin, end in others:
            if offset + block.size <= begin:
                break
            offset = max(offset, end)
        placed.append((offset, block))
    offsets = {name: at for at, block in placed for name in block.values}
    return offsets, max((at + block.size for at, block in placed), default=0)
