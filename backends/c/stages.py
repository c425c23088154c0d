"""What prints a stage of the plan as a C function."""

from __future__ import annotations

from spikec.backends.c.layers import print_layer
from spikec.backends.c.network import Network
from spikec.backends.c.pools import print_pool
from spikec.backends.c.routes import print_reshape, print_route
from spikec.backends.c.writer import Code
from spikec.backends.lowering.records import Layer, Pool, Route, Stage


def print_stage(code: Code, network: Network, stage: Stage) -> None:
    """Add the function of a stage."""
    with network.schedule.printing(stage):
        if isinstance(stage, Layer):
            print_layer(code, network, stage)
        elif isinstance(stage, Pool):
            print_pool(code, network, stage)
        elif isinstance(stage, Route):
            print_route(code, network, stage)
        else:
            print_reshape(code, network, stage)
