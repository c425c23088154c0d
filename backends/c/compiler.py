"""Compiles C into shared objects, kept under the hash of what they were made from."""

from __future__ import annotations

import ctypes
import functools
import os
import shlex
import shutil
import subprocess
import sys
from collections.abc import Mapping

from spikec.backends.lowering.cache import built
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
    sources = [file for file in files if file.endswith(".c")]
    full = [*command, *flags, "-o", "network.so", *sources]
    version = _version(tuple(command))
    return ctypes.CDLL(str(built(full, files, "network.so", version, "the C compiler")))
