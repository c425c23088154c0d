"""How long a value is needed."""

from __future__ import annotations

from collections.abc import Iterable, Mapping


def last_reads(reads: Iterable[tuple[str, Iterable[str]]]) -> Mapping[str, list[str]]:
    """For each reader, the values that nothing after it reads: they can be dropped then.

    Args:
        reads: Each reader and the names of the values that it reads, in the order of execution. A
            reader that is also a value is read at least by itself.
    """
    last: dict[str, str] = {}
    for reader, names in reads:
        for name in (*names, reader):
            last[name] = reader
    released: dict[str, list[str]] = {}
    for name, reader in last.items():
        released.setdefault(reader, []).append(name)
    return released
