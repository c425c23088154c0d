"""The steps of a walk over a network: layers or blocks, of which a checkpoint may have some."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from hashlib import sha256

import numpy as np

from spikec.compiler.calibration.layer import Layer, Neurons
from spikec.compiler.checkpoint import Head, Step
from spikec.compiler.passes import Context, Record
from spikec.ir import Graph
from spikec.ir.neuron import Neuron
from spikec.ir.ops.neurons import neurons
from spikec.ir.types import Array
from spikec.runtime.golden import network_digest
from spikec.runtime.numerics import numerics
from spikec.version import version


class Steps:
    """What the steps of a walk find, told to a checkpoint, or taken from it.

    Args:
        walk: The passes that walk, with their options.
        graph: What they walk over, as it is before.
        context: With the checkpoint, if there is one.
        rng: The walk's random generator, which a step that is taken moves on.
        records: Of the passes, to which a step that is taken tells what it told.
        total: Of the steps, and what they are: `(12, "layer")`.
    """

    def __init__(
        self,
        walk: str,
        graph: Graph,
        context: Context,
        rng: np.random.Generator,
        records: Sequence[Record],
        total: tuple[int, str],
    ) -> None:
        self._checkpoint = context.checkpoint
        self._rng, self._records, self._total = rng, records, total
        self._walk = "" if context.checkpoint is None else _fingerprint(walk, graph, context)
        self._told = _told(records)

    def taken(self, name: str, number: int) -> Step | None:
        """What the step of a layer or block, the `number`-th, found, if the checkpoint has it."""
        if self._checkpoint is None:
            return None
        self._told = _told(self._records)
        (total, what), following = self._total, number + 1
        last = f"after the last {what} of {total}"
        place = f"from {what} {following} of {total}" if following <= total else last
        step = self._checkpoint.taken(self._walk, name, place)
        if step is not None:
            self._rng.bit_generator.state = json.loads(step.head.rng)
            for record, (notes, layers) in zip(self._records, step.head.told, strict=True):
                record.notes += notes
                for layer, figures in layers.items():
                    record.layer(layer, **figures)
        return step

    def add(self, name: str, arrays: Mapping[str, Array], neuron: Neuron | None = None) -> None:
        """What the step found that was not taken."""
        if self._checkpoint is None:
            return
        head = Head(
            self._walk,
            name,
            json.dumps(self._rng.bit_generator.state),
            [
                (record.notes[count:], {k: v for k, v in record.layers.items() if k not in known})
                for record, (count, known) in zip(self._records, self._told, strict=True)
            ],
            list(arrays),
            None if neuron is None else (neuron.name, neuron.attributes()),
        )
        self._checkpoint.add(Step(head, dict(arrays)))


def _told(records: Sequence[Record]) -> list[tuple[int, set[str]]]:
    """How many notes each record has, and of which layers it has figures."""
    return [(len(record.notes), set(record.layers)) for record in records]


def _fingerprint(walk: str, graph: Graph, context: Context) -> str:
    """SHA-256 of all that a walk's results depend on, to the last bit.

    Of the passes before it that is what they made; those after it do not matter.
    """
    digest = sha256()
    for part in (
        version(),
        numerics(),
        walk,
        context.steps,
        context.seed,
        context.levels,
        sorted(context.own_levels.items()),
        sorted(context.payload_bits.items()),
        sorted(context.counterparts.items()),
        context.spec,
        *map(network_digest, (graph, *context.last.values())),
    ):
        digest.update(f"{part!r}\n".encode())
    for name, samples in sorted((context.calib or {}).items()):
        digest.update(f"{name!r} {samples.dtype.str} {samples.shape}".encode())
        digest.update(np.ascontiguousarray(samples).data)
    return digest.hexdigest()


def found(before: Layer, after: Layer) -> dict[str, Array]:
    """What methods found for a layer: all params of its neurons, and the weights that changed."""
    own, pairs = after.neurons, zip(before.synapses, after.synapses, strict=True)
    return {
        "theta": own.theta,
        "v0": own.v0,
        "bias": own.bias,
        **{f"more.{role}": array for role, array in own.more.items()},
        **{f"w{n}": new.weights for n, (old, new) in enumerate(pairs) if new is not old},
    }


def restored(layer: Layer, step: Step) -> Layer:
    """A layer as methods left it."""
    arrays = step.arrays
    for index in range(len(layer.synapses)):
        if f"w{index}" in arrays:
            layer = layer.with_weights(index, arrays[f"w{index}"])
    more = {n.removeprefix("more."): a for n, a in arrays.items() if n.startswith("more.")}
    op = None
    if step.head.neuron is not None:
        name, attributes = step.head.neuron
        op = neurons()[name].of(attributes)
    return replace(layer, neurons=Neurons(op, arrays["theta"], arrays["v0"], arrays["bias"], more))
