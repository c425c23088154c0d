"""Intel's Lava: emits a project of Lava processes and runs it bit for bit.

Nothing of Lava is imported here; only the emitted project does that, in a process of its own.
"""

from __future__ import annotations

import importlib.metadata
import os

from spikec.backends.backend import Backend
from spikec.backends.lava.emit import emit
from spikec.backends.lava.legalise import describe
from spikec.backends.lava.simulate import simulate

VERSION = "0.10.0"


def unavailable() -> str | None:
    """Why Lava cannot run here, or None if it can."""
    if os.name != "posix":
        return "Lava needs Linux or macOS"
    try:
        found = importlib.metadata.version("lava-nc")
    except importlib.metadata.PackageNotFoundError:
        return f"lava-nc {VERSION} is not installed (pip install spikec[lava])"
    return None if found == VERSION else f"lava-nc is {found}, not {VERSION}"


BACKEND = Backend(
    doc="a Lava project for Loihi 2, and Lava's fixed-point simulation of it",
    emit=emit,
    simulate=simulate,
    describe=describe,
    legalise=("compose",),
    stages=("int",),
    unavailable=unavailable,
)
