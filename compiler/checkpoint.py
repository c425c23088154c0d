"""What a compile has found so far, on disk, so that one that was killed need not begin again.

A checkpoint is a log: the steps of a compile's walks over the layers, in their order. A compile
asks for each step before it takes it; as the same compile takes the same steps, those on disk are
taken from there, up to the first that is another, or damaged.
"""

from __future__ import annotations

import hashlib
import io
import json
import re
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import takewhile
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
from msgspec import Struct
from msgspec.structs import asdict

from spikec.ir import SpikecError
from spikec.ir.reading import conform, read_npz
from spikec.ir.types import Array
from spikec.runtime.artifact import file_digest, to_json
from spikec.runtime.files import check_folder, new_folder, remove_folder, replace_file
from spikec.runtime.manifests import CHECKPOINT, CheckpointManifest

if TYPE_CHECKING:
    from typing_extensions import Self

SECONDS = 5.0
"""Time between two writes, at least: a compile of seconds writes nothing."""
_OWN = re.compile(rf"[0-9a-f]{{64}}\.npz|{re.escape(CHECKPOINT.file)}")


Told: TypeAlias = tuple[list[str], dict[str, dict[str, Any]]]
"""What a step told a record: notes, and figures by layer."""


class Head(Struct, frozen=True):
    """What a step is and found, but for arrays.

    Attributes:
        walk: Digest of all that the walk's results depend on.
        name: The layer or block, or its last layer.
        rng: State of the random generator after it.
        told: For each record of the walk.
        arrays: Names of the step's arrays.
        neuron: The neuron op that was chosen, and its attributes.
    """

    walk: str
    name: str
    rng: str
    told: list[Told]
    arrays: list[str]
    neuron: tuple[str, dict[str, bool | int | float | str | tuple[int, ...]]] | None = None


@dataclass(frozen=True, slots=True)
class Step:
    """What one step of a walk found."""

    head: Head
    arrays: Mapping[str, Array]

    def to_bytes(self) -> bytes:
        """The step as an .npz: arrays by their numbers, as names may be any text."""
        head = np.frombuffer(json.dumps(asdict(self.head)).encode(), np.uint8)
        buffer = io.BytesIO()
        np.savez(buffer, head, *(self.arrays[name] for name in self.head.arrays))
        return buffer.getvalue()

    @staticmethod
    def read(path: Path) -> Step:
        """A step that was written.

        Raises:
            SpikecError: where it is damaged: it is called by the digest of what was written.
            KeyError, ValueError: where it was never a step.
        """
        if file_digest(path) != path.stem:
            raise SpikecError("was changed after it was written")
        stored = read_npz(path)
        head = conform(json.loads(stored["arr_0"].tobytes()), Head, str(path))
        return Step(head, {name: stored[f"arr_{n}"] for n, name in enumerate(head.arrays, 1)})


class Checkpoint:
    """The steps of a compile in a folder; a context that removes it when it ends without an error.

    It never stops a compile: what cannot be read is left out and what cannot be written is not
    kept, and both are told.

    Args:
        folder: Where it lies or is to lie.
        tell: Is told in a sentence where a compile continues, and what is wrong.
    """

    def __init__(self, folder: Path, tell: Callable[[str], None]) -> None:
        self.folder = folder
        self._tell = tell
        self._wanted = True
        self._rest = self._listed()
        """Digests of the steps on disk that are still to be taken."""
        self._log: list[str] = []
        """Digests of those that were taken or written."""
        self._new: list[Step] = []
        self._time = time.monotonic()
        self._place = ""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if kind is not None:
            return
        try:
            remove_folder(self.folder, CHECKPOINT)
        except OSError as fault:
            self._tell(f"the checkpoint {self.folder} cannot be removed: {fault}")

    def taken(self, walk: str, name: str, place: str) -> Step | None:
        """The next step of a compile if it is on disk; `place` says where the one after it is."""
        if not self._rest:
            return None
        reason = "is of another compile"
        try:
            step = Step.read(self.folder / f"{self._rest[0]}.npz")
        except (SpikecError, OSError, ValueError, KeyError):
            reason, step = "is damaged", None
        if step is not None and (step.head.walk, step.head.name) == (walk, name):
            self._log.append(self._rest.pop(0))
            self._place = place
        else:
            what = "the rest of the checkpoint" if self._log else "the checkpoint"
            self._tell(f"{what} {self.folder} {reason}, and is replaced")
            self._rest, step = [], None
        if self._log and not self._rest:
            self._tell(f"continues {self._place} ({self.folder})")
        return step

    def add(self, step: Step) -> None:
        """Take up a step, and write it and those before it if the last write is long ago."""
        if not self._wanted:
            return
        self._new.append(step)
        if time.monotonic() - self._time < SECONDS:
            return
        try:
            self._write()
        except (OSError, SpikecError) as error:
            self._stop(error)
        self._time = time.monotonic()

    def _write(self) -> None:
        if CHECKPOINT.read(self.folder) is None:
            with new_folder(self.folder, CHECKPOINT) as made:
                (made / CHECKPOINT.file).write_bytes(_manifest([]))
        before = CHECKPOINT.written(self.folder) or set()
        contents = {_digest(content): content for content in map(Step.to_bytes, self._new)}
        self._log += contents
        # Listed first, so that whatever a kill leaves is known as ours.
        replace_file(self.folder / CHECKPOINT.file, _manifest(self._log))
        for digest, content in contents.items():
            replace_file(self.folder / f"{digest}.npz", content)
        for name in before - (CHECKPOINT.written(self.folder) or set()):
            (self.folder / name).unlink(missing_ok=True)
        self._new = []

    def _listed(self) -> list[str]:
        """The steps on disk; a folder that is none of ours is left alone, one of damaged ones not.

        A loss of power may empty even the manifest. The names of steps are digests, which nothing
        else is called by.
        """
        manifest = CHECKPOINT.read(self.folder)
        if isinstance(manifest, CheckpointManifest):
            written = (path.stem for path in self.folder.glob("*.npz"))
            return list(takewhile(set(written).__contains__, manifest.checkpoint))
        try:
            names = [path.name for path in self.folder.iterdir()] if self.folder.is_dir() else []
            if CHECKPOINT.file in names and all(map(_OWN.fullmatch, names)):
                self._tell(f"the checkpoint {self.folder} is damaged, and is replaced")
                for name in names:
                    (self.folder / name).unlink()
            check_folder(self.folder, CHECKPOINT)
        except (OSError, SpikecError) as error:
            self._stop(error)
        return []

    def _stop(self, error: Exception) -> None:
        self._wanted, self._new = False, []
        self._tell(f"no checkpoint is kept: {error}")


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def _manifest(digests: list[str]) -> bytes:
    return to_json({"format": 1, "checkpoint": digests}).encode()
