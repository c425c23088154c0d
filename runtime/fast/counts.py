"""Event counts that take no more bytes than their samples need."""

from __future__ import annotations

from collections.abc import Iterator, MutableMapping

import numpy as np
from numpy.typing import NDArray


class Narrow(MutableMapping[str, NDArray[np.int64]]):
    """Counts by name that become int64 when they are read.

    Of a large network those of a run would else take more memory than its values.
    """

    def __init__(self) -> None:
        self._counts: dict[str, NDArray[np.integer]] = {}

    def __getitem__(self, name: str) -> NDArray[np.int64]:
        return self._counts[name].astype(np.int64)

    def __setitem__(self, name: str, counts: NDArray[np.integer]) -> None:
        self._counts[name] = counts

    def __delitem__(self, name: str) -> None:
        del self._counts[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._counts)

    def __len__(self) -> int:
        return len(self._counts)

    def add(self, more: Narrow, samples: int) -> None:
        """Add the counts of other samples; `samples` are all of them."""
        kind = counting(samples)
        for name, part in more._counts.items():
            self._counts[name] = np.add(self._counts[name], part, dtype=kind)


def counting(samples: int) -> type[np.unsignedinteger]:
    """The smallest type that counts some samples."""
    if samples < 1 << 8:
        return np.uint8
    return np.uint16 if samples < 1 << 16 else np.uint32
