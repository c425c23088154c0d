"""weights.c and weights.h: all constants of a network."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from spikec.backends.c.network import Constant
from spikec.backends.c.writer import Code


def print_weights(constants: Mapping[str, Constant]) -> str:
    """weights.c."""
    code = Code()
    code.line('#include "weights.h"')
    for name, constant in constants.items():
        code.line()
        code.comment(constant.comment)
        values = [str(v) for v in constant.values.tolist()]
        print_array(code, f"const {constant.declared} {name}[{len(values)}]", values)
    return code.text()


def print_array(code: Code, declaration: str, values: Sequence[str]) -> None:
    """Add an array with its values."""
    with code.block(f"{declaration} =", "};"):
        for text in _wrapped(values):
            code.line(text)


def _wrapped(values: Sequence[str]) -> list[str]:
    """Values with commas, in lines of some 100 characters."""
    lines, line = [], ""
    for value in values:
        if len(line) + len(value) > 94:
            lines.append(line.rstrip())
            line = ""
        line += f"{value}, "
    return [*lines, line.rstrip()]


def print_declarations(constants: Mapping[str, Constant]) -> str:
    """weights.h."""
    code = Code()
    code.line("#ifndef NETWORK_WEIGHTS_H")
    code.line("#define NETWORK_WEIGHTS_H")
    code.line()
    code.line('#include "network_bits.h"')
    code.line()
    for name, constant in constants.items():
        code.line(f"extern const {constant.declared} {name}[{len(constant.values)}];")
    code.line()
    code.line("#endif")
    return code.text()
