"""Rows that a notebook shows as a table."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from html import escape
from typing import TYPE_CHECKING, Any, ClassVar, Generic, Protocol, TypeVar

from spikec.ui import show

if TYPE_CHECKING:
    import pandas


class Row(Protocol):
    """A dataclass whose fields are columns."""

    __dataclass_fields__: ClassVar[dict[str, dataclasses.Field[Any]]]


R = TypeVar("R", bound=Row)


class Table(Sequence[R], Generic[R]):
    """Dataclasses of one kind, one a row.

    Args:
        rows: At least one.
    """

    def __init__(self, rows: Sequence[R]) -> None:
        self.rows = list(rows)
        self.columns = [field.name for field in dataclasses.fields(rows[0])]

    def __getitem__(self, index: Any) -> Any:
        return self.rows[index]

    def __len__(self) -> int:
        return len(self.rows)

    def __iter__(self) -> Iterator[R]:
        return iter(self.rows)

    def cells(self) -> list[list[str]]:
        """All cells as text."""
        return [[show(getattr(row, column)) for column in self.columns] for row in self.rows]

    def __repr__(self) -> str:
        lines = [self.columns, *self.cells()]
        widths = [max(len(line[i]) for line in lines) for i in range(len(self.columns))]
        return "\n".join(
            "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip()
            for line in lines
        )

    def _repr_html_(self) -> str:
        head = "".join(f"<th>{escape(column)}</th>" for column in self.columns)
        body = "".join(
            f"<tr>{''.join(f'<td>{escape(cell)}</td>' for cell in line)}</tr>"
            for line in self.cells()
        )
        return f"<table><tr>{head}</tr>{body}</table>"

    def to_pandas(self) -> pandas.DataFrame:
        """A DataFrame; raises UsageError where pandas is not installed."""
        try:
            import pandas
        except ImportError:
            from spikec.ir import UsageError

            raise UsageError("pandas is not installed (pip install pandas)") from None
        return pandas.DataFrame([dataclasses.asdict(row) for row in self.rows])
