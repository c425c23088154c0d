"""What people see: results on stdout, progress and notes on stderr, piped or not."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.console import Console

SCHEMA = 1
"""Version of what `--json` prints, as docs/json.md describes it."""
LONG = 10.0
"""Seconds between two lines of progress where there is no terminal."""
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
            TextColumn("{task.fields[rate]}"),
            TimeRemainingColumn(),
        )
        with Progress(*columns, console=self.errors, transient=True) as bars:
            tasks: dict[str, Any] = {}
            pace = Pace()

            def report(what: str, done: int, total: int) -> None:
                if what not in tasks:
                    tasks[what] = bars.add_task(what, total=total, rate="")
                rate = f"{short(pace.rate(what, done))}/s"
                bars.update(tasks[what], completed=done, total=total, rate=rate)

            yield report

    def _log(self) -> Callable[[str, int, int], None]:
        """Progress where nothing can be drawn over: a line when a part is done, and now and then.

        The lines of long parts say how many a second, and how long the rest will take.
        """
        last, pace, told = "", Pace(), time.perf_counter()

        def report(what: str, done: int, total: int) -> None:
            nonlocal last, told
            rate, now = pace.rate(what, done), time.perf_counter()
            line = f"{what}: {done}"
            if done == total and line != last:  # a part may end with several calls
                last = line
                self.note(line if done < LONG * rate else f"{line}, {short(rate)} a second")
                told = now
            elif done < total and now - told >= LONG:
                left = (total - done) / rate
                self.note(f"{line} of {total}, {short(rate)} a second, {left:.0f} s left")
                told = now

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


class Pace:
    """How fast parts of a work go on; a part starts when the one before it ended."""

    def __init__(self) -> None:
        self._what, self._start, self._last = "", 0.0, time.perf_counter()

    def rate(self, what: str, done: int) -> float:
        """How many of a part are done in a second, after `done` of them."""
        now = time.perf_counter()
        if what != self._what:
            self._what, self._start = what, self._last
        self._last = now
        return done / max(now - self._start, 1e-9)


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
