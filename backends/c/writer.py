"""C text: indented lines, blocks, loops and expressions; knows syntax only."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager

SHORT = 16
"""Rounds up to which compilers unroll loops: the innermost are marked, see network_bits.h."""

_LOOP = re.compile(r" *(while \(|for \(int \w+ = [^;]+; \w+ < (?!1;))")
"""A loop of more than one round."""
_KEYWORDS = frozenset(
    re.findall(
        r"\w+",
        """auto break case char const continue default do double else enum extern float for goto if
        inline int long register restrict return short signed sizeof static struct switch typedef
        union unsigned void volatile while main""",
    )
)


class Code:
    """Lines of C with their indentation."""

    def __init__(self, depth: int = 0) -> None:
        self._lines: list[str] = []
        self._depth = depth

    def line(self, text: str = "") -> None:
        """Add a line."""
        self._lines.append(f"{'    ' * self._depth}{text}" if text else "")

    def lines(self, text: str) -> None:
        """Add lines that were printed elsewhere."""
        for line in text.splitlines():
            self.line(line)

    def comment(self, *lines: str) -> None:
        """Add a comment of one or more lines."""
        for number, text in enumerate(lines):
            start = "/*" if number == 0 else " *"
            self.line(f"{start} {text}{' */' if number == len(lines) - 1 else ''}".rstrip())

    @contextmanager
    def block(self, header: str = "", end: str = "}") -> Iterator[None]:
        """Indent what is added inside braces behind `header`."""
        self.line(f"{header} {{".lstrip())
        self._depth += 1
        yield
        self._depth -= 1
        self.line(end)

    @contextmanager
    def loop(
        self, variable: str, count: int | str, step: int = 1, also: str = ""
    ) -> Iterator[None]:
        """A loop from 0, `also` after each round; none for the variable `0`, of one value only."""
        if variable == "0":
            yield
            return
        up = f"++{variable}" if step == 1 else f"{variable} += {step}"
        up = f"{up}, {also}" if also else up
        start = len(self._lines)
        with self.block(f"for (int {variable} = 0; {variable} < {count}; {up})"):
            yield
        inside = any(map(_LOOP.match, self._lines[start + 1 :]))
        if isinstance(count, int) and count <= SHORT and not inside:
            self._lines.insert(start, f"{'    ' * self._depth}NETWORK_SHORT")

    def text(self) -> str:
        """All lines."""
        return "\n".join(self._lines) + "\n"


def mul(expression: str, factor: int) -> str:
    """`expression * factor`, as short as possible."""
    if factor == 0 or expression == "0":
        return "0"
    if expression.isdigit():
        return str(int(expression) * factor)
    return expression if factor == 1 else f"{bracketed(expression)} * {factor}"


def add(*terms: str | int) -> str:
    """The sum of expressions and numbers, as short as possible."""
    constant = sum(int(t) for t in terms if str(t).lstrip("-").isdigit())
    parts = [str(t) for t in terms if not str(t).lstrip("-").isdigit()]
    if not parts:
        return str(constant)
    text = " + ".join(parts)
    if constant:
        text += f" {'+' if constant > 0 else '-'} {abs(constant)}"
    return text


def number(value: int) -> str:
    """A literal."""
    if -(1 << 31) < value < 1 << 31:
        return str(value)
    return f"INT64_C({value})" if value > 0 else f"(-INT64_C({-value}))"


def bracketed(expression: str) -> str:
    """The expression, in brackets unless it is one name, number, call or element."""
    return expression if re.fullmatch(r"[\w.]+(\[[^\[\]]*\])*", expression) else f"({expression})"


def flat(indices: list[str], sizes: tuple[int, ...]) -> str:
    """The row-major position of `indices` in an array of `sizes`."""
    position = "0"
    for index, size in zip(indices, sizes, strict=True):
        position = add(mul(position, size), index)
    return position


class Names:
    """C identifiers for names of a graph, each unique."""

    def __init__(self, *taken: str) -> None:
        self._taken = set(taken) | _KEYWORDS
        self._names: dict[str, str] = {}

    def __getitem__(self, name: str) -> str:
        """The identifier of a name, made where it is asked for first."""
        if name not in self._names:
            plain = re.sub(r"\W", "_", name).strip("_") or "value"
            plain = f"n{plain}" if plain[0].isdigit() else plain
            plain = f"n_{plain}" if plain in self._taken else plain
            unique, number = plain, 2
            while unique in self._taken:
                unique, number = f"{plain}_{number}", number + 1
            self._taken.add(unique)
            self._names[name] = unique
        return self._names[name]
