"""SystemVerilog text: instances, parameters and names; knows syntax only."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence


class Names:
    """Parts of identifiers, each unique; a prefix says what they belong to."""

    def __init__(self) -> None:
        self._taken: set[str] = set()

    def make(self, name: str) -> str:
        """A new part for a name of the graph."""
        plain = re.sub(r"\W", "_", name, flags=re.ASCII).strip("_") or "value"
        unique, number = plain, 2
        while unique in self._taken:
            unique, number = f"{plain}_{number}", number + 1
        self._taken.add(unique)
        return unique


def packed(values: Sequence[int], bits: int) -> str:
    """Numbers side by side, the first one lowest; negative ones as two's complement."""
    mask = (1 << bits) - 1
    words = [f"{bits}'d{value & mask}" for value in reversed(values)]
    return f"{{{', '.join(words)}}}"


def text(value: str) -> str:
    """A string."""
    return f'"{value}"'


def instance(
    module: str, name: str, parameters: Mapping[str, int | str], ports: Mapping[str, str]
) -> str:
    """An instance of a module."""
    lines = [f"    {module} #("]
    lines += _listed({key: str(value) for key, value in parameters.items()})
    lines.append(f"    ) {name} (")
    lines += _listed(ports)
    lines.append("    );")
    return "\n".join(lines) + "\n"


def _listed(items: Mapping[str, str]) -> list[str]:
    rows = [f"        .{key}({value})" for key, value in items.items()]
    return [f"{row}," for row in rows[:-1]] + rows[-1:]


def wires(prefix: str, bits: int) -> str:
    """The wires of a stream."""
    return f"    wire {prefix}_valid, {prefix}_ready;\n    wire [{bits - 1}:0] {prefix}_data;\n"


def receives(prefix: str, port: str = "in") -> dict[str, str]:
    """The ports that take a stream."""
    return {f"{port}_{part}": f"{prefix}_{part}" for part in ("valid", "ready", "data")}


def sends(prefix: str) -> dict[str, str]:
    """The ports that hand a stream on."""
    return receives(prefix, "out")


CLOCK = {"clk": "clk", "rst": "rst"}
"""Ports of all modules with state."""


def bits_of(count: int) -> int:
    """Bits of numbers below `count`, at least one."""
    return max(1, (count - 1).bit_length())
