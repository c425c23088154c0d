"""Compiles C into shared objects, kept under the hash of what they were made from."""

from __future__ import annotations

import ctypes
import functools
import hashlib
import os
import shlex
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path

from spikec.backends.lowering.cache import KEPT, cache_folder
from spikec.ir import BackendError

FLAGS = ("-std=c99", "-O3", "-march=native", "-fPIC", "-shared", "-DNETWORK_TRACE")
"""How engines compile; `SPIKEC_CFLAGS` adds to them."""


def compiler() -> list[str] | None:
    """The system's C compiler: `CC`, or the first of cc, gcc and clang; None if there is none."""
    given = shlex.split(os.environ.get("CC", ""))
    candidates = [given] if given else [["cc"], ["gcc"], ["clang"]]
    return next((command for command in candidates if shutil.which(command[0])), None)


def unavailable() -> str | None:
    """Why nothing can be compiled here, or None if it can."""
    if sys.platform == "win32":
        return "it needs Linux or macOS"
    if compiler() is None:
        return "there is no C compiler (install gcc or clang, or name one in CC)"
    return None


@functools.cache
def _version(command: tuple[str, ...]) -> str:
    """What a compiler says of itself and of this machine."""
    asked = [*command, "-march=native", "-E", "-v", "-x", "c", os.devnull]
    answer = subprocess.run(asked, capture_output=True, text=True, check=False)
    return answer.stderr


def shared_object(files: Mapping[str, str]) -> ctypes.CDLL:
    """Compile all `.c` files into one shared object and load it.

    Args:
        files: Texts by file name, headers included.

    Raises:
        BackendError: when there is no compiler, or it refuses the files.
    """
    command = compiler()
    if command is None:
        raise BackendError(f"engine 'c' is not available: {unavailable()}")
    flags = [*FLAGS, *shlex.split(os.environ.get("SPIKEC_CFLAGS", ""))]
    key = hashlib.sha256()
    for part in (
        _version(tuple(command)),
        *command,
        *flags,
        *(x for f in sorted(files.items()) for x in f),
    ):
        key.update(part.encode() + b"\0")
    folder = cache_folder()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        target = folder / f"{key.hexdigest()[:40]}.so"
        if not target.exists():
            _compile([*command, *flags], files, target)
            _shorten(folder, target)
        os.utime(target)
    except OSError as error:
        raise BackendError(
            f"the cache of compiled networks cannot be used: {error}",
            hint="name a folder that can be written in SPIKEC_CACHE",
        ) from None
    return ctypes.CDLL(str(target))


def _compile(command: list[str], files: Mapping[str, str], target: Path) -> None:
    """Compile beside the final name, and move into place in one step."""
    with tempfile.TemporaryDirectory(prefix="build-", dir=target.parent) as name:
        folder = Path(name)
        for file, text in files.items():
            (folder / file).write_text(text, encoding="utf-8")
        sources = [file for file in files if file.endswith(".c")]
        made = subprocess.run(
            [*command, "-o", "network.so", *sources],
            cwd=folder,
            capture_output=True,
            text=True,
            check=False,
        )
        if made.returncode != 0:
            lines = made.stderr.strip().splitlines() or [f"exit code {made.returncode}"]
            reason = next((line for line in lines if "error" in line), lines[0])
            raise BackendError(f"the C compiler refuses the network: {reason}")
        (folder / "network.so").replace(target)


def _shorten(folder: Path, newest: Path) -> None:
    """Remove those shared objects that were not used for longest; a loaded one stays usable."""
    kept = sorted(folder.glob("*.so"), key=lambda path: path.stat().st_mtime, reverse=True)
    for path in kept[KEPT:]:
        if path != newest:
            path.unlink(missing_ok=True)
