"""What people see: progress bars, tables and errors, on the stream where they belong."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from spikec.compiler.pipeline import Progress as ProgressCallback
from spikec.ir import SpikecError


class Ui:
    """One command's output.

    Args:
        as_json: Print one JSON object on stdout and nothing else there.
        quiet: Print results only.
    """

    def __init__(self, as_json: bool = False, quiet: bool = False) -> None:
        self.as_json, self.quiet = as_json, quiet
        self.errors = Console(stderr=True)
        piped = as_json or not sys.stdout.isatty()
        self.out = self.errors if piped else Console()

    @contextmanager
    def progress(self) -> Iterator[ProgressCallback]:
        """A progress bar for long work; the callback takes (what, done, total)."""
        if self.quiet:
            yield lambda what, done, total: None
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

    def say(self, text: str) -> None:
        """A sentence, unless quiet."""
        if not self.quiet:
            self.out.print(escape(text), highlight=False, soft_wrap=True)

    def table(self, title: str, columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
        """A table, unless quiet; numbers to the right."""
        if self.quiet:
            return
        table = Table(title=title or None, title_justify="left", header_style="bold")
        for index, column in enumerate(columns):
            cells = [row[index] for row in rows]
            numeric = all(cell is None or isinstance(cell, (int, float)) for cell in cells)
            table.add_column(column, justify="right" if numeric and rows else "left")
        for row in rows:
            table.add_row(*(escape(show(cell)) for cell in row))
        self.out.print(table)

    def result(self, value: Any) -> None:
        """The JSON object, if asked for."""
        if self.as_json:
            sys.stdout.write(json.dumps(value, allow_nan=False) + "\n")


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


def print_error(error: SpikecError | str) -> None:
    """One clear error on stderr."""
    Console(stderr=True).print(
        f"[bold red]error:[/] {escape(str(error))}", highlight=False, soft_wrap=True
    )
