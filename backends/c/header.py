"""network.h: the two interfaces."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from spikec.backends.c.functions import output_type
from spikec.backends.c.layout import CType, NumberLayout
from spikec.backends.c.network import Network
from spikec.backends.c.writer import Code
from spikec.backends.lowering.records import Plan, Value


@dataclass(frozen=True, slots=True)
class Port:
    """An input or an output of the network.

    Attributes:
        value: Its value.
        name: Its identifier.
        type: Of its elements.
        given: Whether it is an input.
    """

    value: Value
    name: str
    type: CType
    given: bool

    @property
    def timed(self) -> bool:
        """Whether it is an input with a frame for each step."""
        return self.given and self.value.timed

    def size(self, steps: int) -> int:
        """Elements in a call per sample of so many steps."""
        return self.value.size * (steps if self.timed else 1)


def ports(network: Network) -> Iterator[Port]:
    """All inputs, then all outputs."""
    for value in network.plan.inputs:
        layout = network.layout(value)
        assert isinstance(layout, NumberLayout)
        yield Port(value, network.names[value.name], layout.type, given=True)
    for name in network.plan.outputs:
        value = next(s.result for s in network.plan.stages if s.result.name == name)
        yield Port(value, network.names[name], output_type(value.range), given=False)


def parameter_list(network: Network) -> str:
    """The parameters of both interfaces."""
    return ", ".join(
        f"{'const ' if port.given else ''}{port.type} *{port.name}" for port in ports(network)
    )


def print_header(network: Network) -> str:
    """network.h."""
    code, plan = Code(), network.plan
    code.lines(_BEGIN)
    code.line(f"#define NETWORK_STEPS {plan.steps}")
    code.line(f"#define NETWORK_INPUTS {len(plan.inputs)}")
    for port in ports(network):
        code.line(f"#define NETWORK_{port.name.upper()}_SIZE {port.value.size}")
    code.line()
    code.comment(
        "Run a sample: all steps. Returns 0, or the number of the stage in which a value left its",
        "declared width (only where none is proven to stay inside).",
        *(line for port in ports(network) for line in _described(port, plan)),
    )
    code.line(f"int network_run({parameter_list(network)});")
    code.line()
    code.comment(
        "The same step by step: begin a sample, then take its steps one after the other. After the",
        "last step, the results are those of network_run. Returns as it does, and -1 after that.",
    )
    code.line("void network_start(void);")
    code.line(f"int network_step({parameter_list(network)});")
    code.lines(_HASH)
    code.lines(_END)
    return code.text()


def _described(port: Port, plan: Plan) -> Iterator[str]:
    shape = " x ".join(map(str, port.value.shape)) or "1"
    held = f"{port.value.range.low} to {port.value.range.high}"
    if port.timed:
        yield f"{port.name}: {plan.steps} frames of {shape}, that of the step in network_step,"
        yield f"    in row-major order, codes {held}."
        return
    weight = plan.units[port.value.name].weight
    yield f"{port.name}: {shape} in row-major order,"
    yield (
        f"    codes {held}."
        if port.given
        else f"    potentials {held}; real: times scale / {weight}."
    )


_BEGIN = """\
#ifndef NETWORK_H
#define NETWORK_H

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif
"""
_HASH = """
#ifdef NETWORK_HASH
extern uint32_t network_hash;
#endif
"""
_END = """
#ifdef __cplusplus
}
#endif

#endif
"""
