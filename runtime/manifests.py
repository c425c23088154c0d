"""The manifests of folders that spikec writes: what they hold, and what makes a folder ours.

A folder is one of ours by the content of its manifest, its format version included, never by the
names of its files.
"""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

from msgspec import Meta, Struct

from spikec.ir import SpikecError
from spikec.ir.reading import read_json

_PAGE_START = b"<title>spikec: "

_PART = r"(?!\.\.?(/|\Z))[^\x00-\x1f/\\]+"
FileName = Annotated[str, Meta(pattern=rf"^{_PART}(/{_PART})*\Z", max_length=1024)]
"""A file below the folder."""
Digest = Annotated[str, Meta(pattern=r"^[0-9a-f]{64}\Z")]
Count = Annotated[int, Meta(ge=0, le=2**62)]
Steps = Annotated[int, Meta(ge=1, le=2**22)]


class ModelEntry(Struct, frozen=True):
    """The ANN: its file's name, and the SHA-256 of the model with its weights."""

    file: str | None
    sha256: Digest | None


class TargetEntry(Struct, frozen=True):
    """The target, and those of its options that were given."""

    name: str
    options: dict[str, Any]


class CalibrationEntry(Struct, frozen=True):
    """The calibration samples: their SHA-256, and how many they are."""

    sha256: Digest
    samples: Count


class Manifest(Struct, frozen=True):
    """What lists the files of a folder."""

    @property
    def names(self) -> Iterable[str]:
        """The listed files."""
        raise NotImplementedError


class ArtifactManifest(Manifest, frozen=True):
    """manifest.json of an artifact."""

    format: Literal[2]
    spikec: str
    model: ModelEntry
    target: TargetEntry
    steps: Steps
    passes: list[str]
    files: dict[FileName, Digest]
    outputs: list[str] | None = None
    calibration: CalibrationEntry | None = None
    seed: int | None = None
    numerics: dict[str, str] | None = None
    images: str | None = None
    metrics: dict[str, str] | None = None
    class_axes: dict[str, Count] | None = None
    shapes: dict[str, list[Count]] | None = None
    frames: list[str] | None = None
    counterparts: dict[str, str] | None = None
    rounding_loss: str | None = None

    @property
    def names(self) -> Iterable[str]:
        """The listed files."""
        return self.files


class OldArtifactManifest(Manifest, frozen=True):
    """manifest.json of format 1, whose target is a text and its options are entries beside it."""

    format: Literal[1]
    target: str
    steps: Steps
    passes: list[str]
    model: ModelEntry
    files: dict[FileName, Digest]
    lava_neuron: str | None = None
    allow_lossy: list[str] | None = None

    @property
    def names(self) -> Iterable[str]:
        """The listed files."""
        return self.files


class TracedLayer(Struct, frozen=True):
    """A layer in trace.json: a SHA-256 for each step."""

    name: str
    op: str
    shape: list[Count]
    spikes: list[Digest] | None
    potentials: list[Digest] | None


class TraceManifest(Manifest, frozen=True):
    """trace.json of golden traces."""

    format: Literal[1]
    network: Digest
    steps: Steps
    samples: Count
    layers: list[TracedLayer]
    files: dict[FileName, Digest]

    @property
    def names(self) -> Iterable[str]:
        """The listed files."""
        return self.files


class HexEntry(Struct, frozen=True):
    """A file of hex traces, as far as others depend on it."""

    file: FileName
    kind: str
    node: str
    sha256: Digest


class HexManifest(Manifest, frozen=True):
    """manifest.json of golden traces as hex files."""

    format: Literal[1]
    network: Digest
    steps: Steps
    samples: Count
    layers: list[str]
    files: list[HexEntry]

    @property
    def names(self) -> Iterable[str]:
        """The listed files."""
        return [entry.file for entry in self.files]


class DumpManifest(Manifest, frozen=True):
    """dump.json of the graphs after each pass."""

    format: Literal[1]
    dump: list[FileName]

    @property
    def names(self) -> Iterable[str]:
        """The listed files."""
        return self.dump


class CheckpointManifest(Manifest, frozen=True):
    """checkpoint.json of a compile: its steps so far, each in a file called by its SHA-256."""

    format: Literal[1]
    checkpoint: list[Digest]

    @property
    def names(self) -> Iterable[str]:
        """The listed files."""
        return [f"{digest}.npz" for digest in self.checkpoint]


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of folder.

    Attributes:
        what: What it is called.
        file: Its manifest.
        schemas: What the manifest may hold, the format that is written first.
        unlisted: Files that it has beside those that the manifest lists.
    """

    what: str
    file: str
    schemas: tuple[type[Manifest], ...]
    unlisted: tuple[str, ...] = ()

    def read(self, folder: Path) -> Manifest | None:
        """The manifest of a folder; None where the folder is not of this kind."""
        if not (folder / self.file).is_file():
            return None
        for schema in self.schemas:
            with suppress(SpikecError):
                return read_json(folder / self.file, schema)
        return None

    def written(self, folder: Path) -> set[str] | None:
        """The files of a folder that spikec wrote; None where it is not of this kind."""
        manifest = self.read(folder)
        return None if manifest is None else {*manifest.names, self.file, *self.unlisted}


ARTIFACT = Kind(
    "an artifact", "manifest.json", (ArtifactManifest, OldArtifactManifest), ("report.json",)
)
TRACES = Kind("a folder of golden traces", "trace.json", (TraceManifest,))
HEX = Kind("a folder of hex traces", "manifest.json", (HexManifest,), ("graph.spk",))
DUMP = Kind("a folder of dumped graphs", "dump.json", (DumpManifest,))
CHECKPOINT = Kind("a checkpoint", "checkpoint.json", (CheckpointManifest,))
KINDS = (ARTIFACT, TRACES, HEX, DUMP, CHECKPOINT)


def is_page(file: Path) -> bool:
    """Whether a file is a page that `spikec report` wrote."""
    try:
        with file.open("rb") as opened:
            return _PAGE_START in opened.read(1000)
    except OSError:
        return False
