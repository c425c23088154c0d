"""Where engines keep what they compiled."""

from __future__ import annotations

import os
from pathlib import Path

KEPT = 64
"""Compiled networks of a kind that stay in the cache."""


def cache_folder() -> Path:
    """Where compiled networks are kept: `SPIKEC_CACHE`, or spikec's folder in the user's cache."""
    given = os.environ.get("SPIKEC_CACHE")
    base = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return Path(given) if given else base / "spikec"
