"""What compilers and simulators make of emitted code, kept for the next run."""

from __future__ import annotations

import hashlib
import os
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

from spikec.ir import BackendError

KEPT = 64
"""Products of each kind that stay in the cache."""


def cache_folder() -> Path:
    """Where compiled networks are kept: `SPIKEC_CACHE`, or spikec's folder in the user's cache."""
    given = os.environ.get("SPIKEC_CACHE")
    base = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return Path(given) if given else base / "spikec"


def built(
    command: Sequence[str], files: Mapping[str, str], product: str, version: str, who: str
) -> Path:
    """The file that a command makes of others, under the hash of what it was made from.

    Args:
        command: Run in a folder that holds the files.
        files: Texts by file name.
        product: The file that the command writes; its suffix tells kinds in the cache apart.
        version: What the command's program says of itself.
        who: What refuses files that cannot be built, the subject of a sentence.

    Raises:
        BackendError: when it refuses them, or the cache cannot be written.
    """
    key = hashlib.sha256()
    for part in (version, *command, *(x for file in sorted(files.items()) for x in file)):
        key.update(part.encode() + b"\0")
    folder = cache_folder()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        target = folder / f"{key.hexdigest()[:40]}{Path(product).suffix}"
        if not target.exists():
            _build(command, files, product, target, who)
            _shorten(folder, target)
        os.utime(target)
    except OSError as error:
        raise BackendError(
            f"the cache of compiled networks cannot be used: {error}",
            hint="name a folder that can be written in SPIKEC_CACHE",
        ) from None
    return target


def _build(
    command: Sequence[str], files: Mapping[str, str], product: str, target: Path, who: str
) -> None:
    """Build beside the final name, and move into place in one step."""
    with tempfile.TemporaryDirectory(prefix="build-", dir=target.parent) as name:
        folder = Path(name)
        for file, text in files.items():
            (folder / file).parent.mkdir(exist_ok=True)
            (folder / file).write_text(text, encoding="utf-8")
        made = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
        if made.returncode != 0:
            lines = (made.stderr + made.stdout).strip().splitlines()
            lines = lines or [f"exit code {made.returncode}"]
            reason = next((line for line in lines if "rror" in line), lines[0])
            raise BackendError(f"{who} refuses the network: {reason}")
        (folder / product).replace(target)


def _shorten(folder: Path, newest: Path) -> None:
    """Remove those of a kind that were not used for longest; one that is loaded stays usable."""
    same = folder.glob(f"*{newest.suffix}")
    kept = sorted(same, key=lambda path: path.stat().st_mtime, reverse=True)
    for path in kept[KEPT:]:
        if path != newest:
            path.unlink(missing_ok=True)
