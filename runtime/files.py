"""Files that appear whole or not at all."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from spikec.ir import UsageError
from spikec.ir.types import Array
from spikec.runtime import artifact as store


def check_artifact_place(folder: Path) -> None:
    """Raise before any work where an artifact cannot be written afterwards.

    Raises:
        InvalidArtifact: when something else stands there.
        UsageError: when the folder that is to hold it cannot be written to.
    """
    store.check_free(folder)
    _check_parent(folder)


def check_file_place(path: Path) -> None:
    """Raise UsageError before any work where a file cannot be written afterwards."""
    if path.is_dir():
        raise UsageError(f"{path} is a directory; name a file")
    _check_parent(path)


def _check_parent(path: Path) -> None:
    parent = next(p for p in path.absolute().parents if p.exists())
    if not parent.is_dir():
        raise UsageError(f"cannot write {path}: {parent} is not a directory")
    if not os.access(parent, os.W_OK):
        raise UsageError(f"cannot write {path}: no permission to write in {parent}")


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
