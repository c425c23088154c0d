"""What the tests of Lava share; they can import `lava_nets` and `random_nets`."""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).parent))


@pytest.fixture
def started(
    monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[list[int]]:
    """Ids of the children that a test starts; none may leave anything behind for 5 seconds."""
    from lava_nets import orphaned_memory, session_of

    from spikec.backends.lava import child

    tmp_path_factory.getbasetemp()  # lies in the temporary folder that is replaced here
    temporary = Path(tempfile.mkdtemp(prefix="s-"))  # paths of sockets must be short
    monkeypatch.setattr(tempfile, "tempdir", str(temporary))
    monkeypatch.setenv("TMPDIR", str(temporary))
    ids: list[int] = []
    original = subprocess.Popen

    def popen(*args: Any, **options: Any) -> Any:
        process = original(*args, **options)
        ids.append(process.pid)
        return process

    monkeypatch.setattr(child.subprocess, "Popen", popen)
    before = orphaned_memory()
    yield ids
    until = time.monotonic() + 5
    left: set[Any] = {1}
    while left and time.monotonic() < until:
        memory = orphaned_memory()
        files = {
            p.name for p in temporary.iterdir() if p.name.startswith(("spikec", "lava", "pymp"))
        }
        left = files | (memory - before) | {pid for session in ids for pid in session_of(session)}
        time.sleep(0.05)
    shutil.rmtree(temporary)
    assert not left
