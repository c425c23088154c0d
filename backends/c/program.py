"""main.c: a program that runs the network on samples from files."""

from __future__ import annotations

from spikec.backends.c.header import Port, ports
from spikec.backends.c.network import Network
from spikec.backends.c.tables import print_array
from spikec.backends.c.writer import Code
from spikec.backends.lowering.records import Units


def print_program(text: str, network: Network) -> str:
    """main.c, from its template."""
    tables, read, printed = Code(), Code(depth=2), Code(depth=2)
    every = list(ports(network))
    for port in every:
        units = network.plan.units[port.value.name]
        _reals(tables, f"{port.name}_scale", units.scale)
        if port.given:
            _reals(tables, f"{port.name}_offset", units.offset)
        read.line(f"static {port.type} {port.name}[{port.size(network.plan.steps)}];")
    for given, kind in ((True, "input_t inputs"), (False, "output_t outputs")):
        with tables.block(f"static const {kind}[] =", "};"):
            for port in every:
                if port.given == given:
                    frames = network.plan.steps if port.timed else 1
                    tables.line(_row(port, network.plan.units[port.value.name], frames))
    for number, port in enumerate(port for port in every if port.given):
        with read.block(f"if (!read_sample(&files[{number}], {port.name}))"):
            read.line("break;")
    for number, port in enumerate(port for port in every if not port.given):
        with printed.block(f"for (size_t i = 0; i < outputs[{number}].size; ++i)"):
            printed.line(f"print_result(&outputs[{number}], i, {port.name}[i], integers);")
    for token, code in (("@TABLES@", tables), ("@READ@", read), ("@PRINT@", printed)):
        text = text.replace(token, code.text().rstrip("\n"))
    whole = ", ".join(port.name for port in every)
    stepwise = ", ".join(
        f"{port.name} + step * {port.value.size}" if port.timed else port.name for port in every
    )
    return text.replace("@ARGUMENTS@", whole).replace("@OF_STEP@", stepwise)


def _reals(code: Code, name: str, values: tuple[float, ...]) -> None:
    print_array(code, f"static const double {name}[]", [repr(value) for value in values])


def _row(port: Port, units: Units, frames: int) -> str:
    """An element of the table of inputs or outputs."""
    shown = units.name.replace("\\", "/").replace('"', "'")
    scale = f"{port.name}_scale, {len(units.scale)}"
    if not port.given:
        return f'{{"{shown}", {port.value.size}, {scale}, {units.weight}.0}},'
    offset = f"{port.name}_offset, {len(units.offset)}"
    held = port.value.range
    code = f"sizeof({port.type}), {held.low}.0, {held.high}.0"
    return f'{{"{shown}", {port.value.size}, {frames}, {code}, {scale}, {offset}}},'
