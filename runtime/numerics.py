"""What the last bits of calibration depend on besides the model, the data and the options."""

from __future__ import annotations

import platform
from importlib.metadata import version
from typing import Any

LIBRARIES = ("numpy", "numba", "onnxruntime")
"""Those that sum floats."""


def numerics() -> dict[str, str]:
    """Libraries that sum floats, and kernel and threads of NumPy's BLAS.

    Calibration adds floats in the order that is fastest here. What runs on the integer graph that
    comes out adds integers, and gives the same numbers everywhere.
    """
    versions = {name: version(name) for name in LIBRARIES}
    return {**versions, "blas": _blas(), "machine": platform.machine()}


def _blas() -> str:
    """NumPy's BLAS, such as "openblas 0.3.31 SkylakeX, 2 threads"."""
    import numpy.linalg  # loads it
    import threadpoolctl

    assert numpy.linalg
    loaded = [pool for pool in threadpoolctl.threadpool_info() if pool["user_api"] == "blas"]
    own = [pool for pool in loaded if "numpy" in pool["filepath"]] or loaded
    return "; ".join(sorted(set(map(_text, own)))) or "unknown"


def _text(pool: dict[str, Any]) -> str:
    named = (pool["internal_api"], pool["version"], pool.get("architecture"))
    words = " ".join(str(word) for word in named if word)
    return f"{words}, {pool['num_threads']} threads"
