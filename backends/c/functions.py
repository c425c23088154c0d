"""What all stages' functions share: their heads, and how spikes are written."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from spikec.backends.c.layout import CType, NumberLayout, SpikeLayout, ctype
from spikec.backends.c.network import Lanes, Network
from spikec.backends.c.writer import Code, add, flat, mul, number
from spikec.backends.lowering.records import Layer, Range, Reshape, Stage, Value


def called(network: Network, stage: Stage) -> bool:
    """Whether a stage has a function; a reshape of memory as it lies has none."""
    root = network.memory.roots[stage.result.name]
    return not isinstance(stage, Reshape) or root == stage.result.name


def parameters(network: Network, stage: Stage) -> list[tuple[str, str]]:
    """Type and name of the pointers that a stage's function takes: the network's own."""
    given = (network.external(source) for source in stage.sources)
    inputs = {value.name: value for value in given if value is not None}
    pointers = []
    for value in inputs.values():
        layout = network.layout(value)
        assert isinstance(layout, NumberLayout)
        pointers.append((f"const {layout.type} *", network.names[value.name]))
    if stage.result.name in network.plan.outputs:
        pointers.append((f"{output_type(stage.result.range)} *", network.names[stage.result.name]))
    return pointers


def output_type(held: Range) -> CType:
    """The type of a result."""
    return ctype(held, 32)


def checked(stage: Stage) -> bool:
    """Whether a stage's function says that a value left its width."""
    return isinstance(stage, Layer) and stage.limits is not None


def print_watch(code: Code, value: str, type_: CType, limits: Range) -> None:
    """Note a value that leaves its declared range; ends that its type cannot pass are left out."""
    beyond = []
    if limits.low > -(1 << (type_.bits - 1)):
        beyond.append(f"({value} < {number(limits.low)})")
    if limits.high < (1 << (type_.bits - 1)) - 1:
        beyond.append(f"({value} > {number(limits.high)})")
    if beyond:
        code.line(f"overflow |= {' | '.join(beyond)};")


@contextmanager
def stage_function(code: Code, network: Network, stage: Stage) -> Iterator[None]:
    """The function of a stage, around what is printed inside."""
    given = ", ".join(f"{type_}{name}" for type_, name in parameters(network, stage)) or "void"
    kind = "int" if checked(stage) else "void"
    with code.block(f"static {kind} layer_{network.names[stage.result.name]}({given})"):
        code.line("NETWORK_CALLS")
        yield


def print_pack(
    code: Code, network: Network, lanes: Lanes, layout: SpikeLayout, plane: str, fired: str
) -> None:
    """Write which of the neurons that are computed at once fire in step t."""
    result = lanes.result
    row = flat(lanes.places[:-1], result.space[:-1])
    step = network.schedule.slot(layout.steps)
    string = flat([row, plane, step], (layout.rows, layout.planes, layout.steps))
    target = add(network.pointer(result), mul(string, layout.row_bytes))
    bit = add(mul(lanes.places[-1], layout.channels), lanes.first)
    aligned = layout.channels % 8 == lanes.block % 8 == 0
    pack = "network_pack_bytes" if aligned else "network_pack"
    code.line(f"{pack}({target}, {bit}, {fired}, {lanes.count});")


def sizes(value: Value) -> str:
    """The shape of a value, for comments."""
    return " x ".join(map(str, value.shape))
