"""Files that appear whole or not at all."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from spikec.runtime import artifact as store

Array = NDArray[Any]


def write_npz(path: Path, arrays: Mapping[str, Array]) -> None:
    """Write an .npz beside its final name and move it into place."""
    write_file(path, store.npz_bytes(arrays))


def write_file(path: Path, content: bytes) -> None:
    """Write a file beside its final name and move it into place."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{path.name}.part")
    try:
        part.write_bytes(content)
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)
