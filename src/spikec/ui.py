"""What people see: results on stdout, progress and notes on stderr, piped or not."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.console import Console

SCHEMA = 1
"""Version of what `--json` prints, as docs/json.md describes it."""
WIDE = 100_000
"""Columns of what is no terminal: nothing is cut or wrapped there."""


class Ui:
    """One command's output.

    Args:
        as_json: Print one JSON object on stdout and nothing else there.
        quiet: Print the one result and nothing else.
    """

    def __init__(self, as_json: bool = False, quiet: bool = False) -> None:
        from rich.console import Console

        self.as_json, self.quiet = as_json, quiet
        self.errors = Console(stderr=True)
        self.out = Console(width=None if sys.stdout.isatty() else WIDE)

    @contextmanager
    def progress(self) -> Iterator[Callable[[str, int, int], None]]:
        """A progress bar for long work; the callback takes (what, done, total)."""
        from rich.progress import (
            BarColumn,
            MofNCompleteColumn,
            Progress,
            TextColumn,
            TimeRemainingColumn,
        )

        if self.quiet:
            yield lambda what, done, total: None
            return
        if not sys.stderr.isatty():
            yield self._log()
            return
        columns = (
            TextColumn("{task.description:<18}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeRemainingColumn(),
        )
        with Progress(*columns, console=self.errors, transient=True) as bars:
            tasks: dict[str, Any] = {}

            def report(what: str, done: int, total: int) -> None:
                if what not in tasks:
                    tasks[what] = bars.add_task(what, total=total)
                bars.update(tasks[what], completed=done, total=total)

            yield report

    def _log(self) -> Callable[[str, int, int], None]:
        """Progress where nothing can be drawn over: one line when a part is done."""
        last = ""

        def report(what: str, done: int, total: int) -> None:
            nonlocal last
            line = f"{what}: {done}"
            if done == total and line != last:  # a part may end with several calls
                last = line
                self.note(line)

        return report

    def note(self, text: str) -> None:
        """A sentence beside the result, on stderr, unless quiet."""
        if not self.quiet:
            _print(self.errors, text)

    def say(self, text: str) -> None:
        """A sentence of the result, on stdout, unless quiet or in JSON."""
        if not (self.quiet or self.as_json):
            _print(self.out, text)

    def table(self, title: str, columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
        """A table of the result, on stdout, unless quiet or in JSON; numbers to the right."""
        if self.quiet or self.as_json:
            return
        from rich.markup import escape
        from rich.table import Table

        if title:  # not of the table, which would fold it to its own width
            self.out.print(escape(title), style="italic", highlight=False, soft_wrap=True)
        table = Table(header_style="bold")
        for index, column in enumerate(columns):
            cells = [row[index] for row in rows]
            numeric = all(cell is None or isinstance(cell, (int, float)) for cell in cells)
            right = numeric and bool(rows)
            table.add_column(column, justify="right" if right else "left", overflow="fold")
        for row in rows:
            table.add_row(*(escape(show(cell)) for cell in row))
        self.out.print(table)

    def result(self, value: dict[str, Any], line: str | None = None) -> None:
        """The one result: a JSON object if asked for, else a line."""
        if self.as_json:
            print_json(value)
        elif line is not None:
            _print(self.out, line)


def _print(console: Console, text: str) -> None:
    from rich.markup import escape

    console.print(escape(text), highlight=False, soft_wrap=True)


def print_json(value: dict[str, Any]) -> None:
    """One JSON object on stdout, with the version of its schema."""
    sys.stdout.write(json.dumps({"schema": SCHEMA, **value}, allow_nan=False) + "\n")


def show(cell: Any) -> str:
    """A table cell as text."""
    if cell is None:
        return "-"
    if isinstance(cell, bool):
        return "yes" if cell else "no"
    if isinstance(cell, float):
        return short(cell)
    if isinstance(cell, int):
        return f"{cell:,}"
    if isinstance(cell, (list, tuple)):
        return "x".join(map(str, cell)) or "scalar"
    return str(cell)


def short(value: float) -> str:
    """A number in four digits with k, M or G behind large ones."""
    for unit, size in (("G", 1e9), ("M", 1e6), ("k", 1e3)):
        if abs(value) >= size:
            return f"{value / size:.4g} {unit}"
    return f"{value:.4g}"


def percent(value: float | None) -> str:
    """A share as per cent."""
    return "-" if value is None else f"{value:.1%}"


def bar(share: float, width: int = 22) -> str:
    """A horizontal bar for a share of 0 to 1, in eighths of a character."""
    eighths = round(min(max(share, 0.0), 1.0) * width * 8)
    text = "█" * (eighths // 8) + " ▏▎▍▌▋▊▉"[eighths % 8]
    return text[:width].ljust(width)


def print_error(text: str) -> None:
    """One clear error on stderr."""
    from rich.console import Console
    from rich.markup import escape

    Console(stderr=True).print(
        f"[bold red]error:[/] {escape(text)}", highlight=False, soft_wrap=True
    )
