"""Neurons: each file states all that is known of one, see `spikec.ir.neuron`."""

from __future__ import annotations

from spikec.ir.errors import InvalidGraph
from spikec.ir.neuron import Needs, Neuron
from spikec.ir.ops import OPS


def neurons() -> dict[str, type[Neuron]]:
    """All neurons by name, those of plugins included."""
    return {name: op for name, op in OPS.items() if issubclass(op, Neuron)}


def neuron_for(needs: Needs) -> Neuron:
    """The neuron that offers itself for what a pass needs.

    Raises:
        InvalidGraph: unless exactly one does.
    """
    offers = [offer for kind in neurons().values() if (offer := kind.offer(needs)) is not None]
    if len(offers) != 1:
        named = ", ".join(offer.name for offer in offers) or "none"
        raise InvalidGraph(f"one neuron must offer itself for {needs}, not {named}")
    return offers[0]


def is_offered(neuron: Neuron, needs: Needs) -> bool:
    """Whether this very neuron offers itself for some needs, wherever it is placed."""
    offer = type(neuron).offer(needs)
    return offer is not None and offer.attributes() == {
        name: value for name, value in neuron.attributes().items() if name != "core"
    }
