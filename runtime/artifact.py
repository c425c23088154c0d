"""The artifact: a directory that holds a compiled network and all that vouches for it."""

from __future__ import annotations

import hashlib
import io
import json
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from spikec.ir import Graph, InvalidArtifact, Param, read_spk, verify
from spikec.ir.reading import conform, read_json, read_npz
from spikec.runtime.files import new_folder, replace_file, settle
from spikec.runtime.manifests import ARTIFACT, ArtifactManifest, OldArtifactManifest

FORMAT = 2
"""What is written. Format 1, whose target is a text, is read as well."""
MANIFEST = "manifest.json"
RECIPE = "recipe.json"
REPORT = "report.json"
"""What is known of the network; not part of it, so no hash guards it."""
_EPOCH = (1980, 1, 1, 0, 0, 0)
_WIDEST = 8
"""Bytes of the widest element of a param."""
HEADERS = 1 << 20
"""Bytes that the headers of all arrays in a file may take."""


@dataclass(frozen=True, slots=True)
class Stored:
    """What an artifact directory holds.

    Attributes:
        graph: Stage int.
        float_graph: Stage snn, before quantisation; None where a graph was all there was.
        manifest: Versions, options, hashes.
        report: What the compiler did and measured.
        recipe: The options that it was compiled with, where it was.
    """

    graph: Graph
    float_graph: Graph | None
    manifest: dict[str, Any]
    report: dict[str, Any] = field(default_factory=dict)
    recipe: dict[str, Any] | None = None


def save(stored: Stored, folder: Path, emit: Callable[[Path], None] | None = None) -> None:
    """Write an artifact in one step.

    Args:
        stored: What to write.
        folder: The artifact directory; an artifact that stands there is replaced, and what others
            put into it is kept.
        emit: Writes a backend's files into a subfolder.

    Raises:
        InvalidArtifact: when something else stands at `folder`.
    """
    with new_folder(folder, ARTIFACT) as made:
        _write(stored, made)
        if emit is not None:
            target = made / str(stored.manifest["target"]["name"])
            target.mkdir()
            emit(target)
            if not any(target.iterdir()):
                target.rmdir()
        files = sorted(p for p in made.rglob("*") if p.is_file())
        hashes = {p.relative_to(made).as_posix(): file_digest(p) for p in files if p.name != REPORT}
        manifest = {**stored.manifest, "format": FORMAT, "files": hashes}
        (made / MANIFEST).write_text(to_json(manifest), encoding="utf-8")


def _write(stored: Stored, folder: Path) -> None:
    for name, graph in (("graph", stored.graph), ("float", stored.float_graph)):
        if graph is None:
            continue
        (folder / f"{name}.spk").write_text(graph.to_text(), encoding="utf-8")
        arrays = {key: p.array for key, p in graph.params.items() if p.array is not None}
        target = "weights.npz" if name == "graph" else "float.npz"
        (folder / target).write_bytes(npz_bytes(arrays))
    (folder / REPORT).write_text(to_json(stored.report), encoding="utf-8")
    if stored.recipe is not None:
        (folder / RECIPE).write_text(to_json(stored.recipe), encoding="utf-8")


def record(folder: Path, report: Mapping[str, Any]) -> None:
    """Replace the report of an artifact, which may grow after it was compiled."""
    replace_file(folder / REPORT, to_json(report).encode())


def to_json(value: Any) -> str:
    """JSON with sorted keys and a final newline: the same value, the same bytes."""
    return json.dumps(value, indent=1, sort_keys=True, allow_nan=False) + "\n"


def npz_bytes(arrays: Mapping[str, Any]) -> bytes:
    """An .npz file without timestamps: the same arrays, the same bytes."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name in sorted(arrays):
            entry = zipfile.ZipInfo(f"{name}.npy", date_time=_EPOCH)
            entry.compress_type = zipfile.ZIP_DEFLATED
            content = io.BytesIO()
            np.lib.format.write_array(content, np.asarray(arrays[name]), allow_pickle=False)
            archive.writestr(entry, content.getvalue())
    return buffer.getvalue()


def file_digest(path: Path) -> str:
    """SHA-256 of a file."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while part := file.read(1 << 20):
            digest.update(part)
    return digest.hexdigest()


def check_listed(folder: Path, files: Mapping[str, str], *, hint: str) -> None:
    """Check that files are what they were when a folder was written.

    Args:
        folder: Where they lie; links that lead out of it are as good as missing.
        files: SHA-256 by name.
        hint: What helps where one was changed.

    Raises:
        InvalidArtifact: when a file is missing or was changed.
    """
    for name, digest in files.items():
        path = folder / name
        try:
            inside = path.resolve().is_relative_to(folder.resolve()) and path.is_file()
            same = inside and file_digest(path) == digest
        except (OSError, RuntimeError):  # the latter for links in a circle, up to Python 3.12
            inside = same = False
        if not inside:
            raise InvalidArtifact(f"{name} is missing", loc=str(folder))
        if not same:
            raise InvalidArtifact(
                f"{name} was changed after it was written (its hash differs)",
                loc=str(folder),
                hint=hint,
            )


def is_artifact(folder: Path) -> bool:
    """Whether a directory has the names of an artifact; what they hold is for `load` to say."""
    return (folder / MANIFEST).is_file() and (folder / "graph.spk").is_file()


class Head(msgspec.Struct):
    """What every manifest has."""

    format: int


def load(folder: str | Path) -> Stored:
    """Read an artifact and check the hashes of all its files.

    Raises:
        InvalidArtifact: when it is missing, damaged or of another format version.
    """
    folder = Path(folder)
    settle(folder.absolute())
    if not folder.is_dir():
        raise InvalidArtifact("no such artifact directory", loc=str(folder))
    manifest, files = _read_manifest(folder)
    check_listed(folder, files, hint="compile the model again")
    has_float = "float.spk" in files or "float.npz" in files
    for name in ("graph.spk", "weights.npz", *(("float.spk", "float.npz") if has_float else ())):
        if name not in files:
            raise InvalidArtifact(f"{name} is not listed in {MANIFEST}", loc=str(folder))
    if not (folder / REPORT).is_file():
        raise InvalidArtifact(f"{REPORT} is missing", loc=str(folder))
    report = read_json(folder / REPORT, dict[str, Any])
    graph = read_graph(folder, "graph.spk", "weights.npz")
    floats = read_graph(folder, "float.spk", "float.npz") if has_float else None
    recipe = read_json(folder / RECIPE, dict[str, Any]) if RECIPE in files else None
    return Stored(graph, floats, manifest, report, recipe)


def _read_manifest(folder: Path) -> tuple[dict[str, Any], Mapping[str, str]]:
    """The manifest, as of the format that is written, and the files that it lists."""
    path = folder / MANIFEST
    if not path.is_file():
        raise InvalidArtifact(f"{MANIFEST} is missing", loc=str(folder))
    version = read_json(path, Head).format
    if version not in (1, FORMAT):
        raise InvalidArtifact(f"format {version}, this spikec reads {FORMAT}", loc=str(path))
    manifest = read_json(path, dict[str, Any])
    if version == 1:
        files = conform(manifest, OldArtifactManifest, str(path)).files
        return _from_format_1(manifest), files
    return manifest, conform(manifest, ArtifactManifest, str(path)).files


def _from_format_1(manifest: Mapping[str, Any]) -> dict[str, Any]:
    """A manifest of format 1, in which a target's options were entries of their own."""
    options: dict[str, Any] = {}
    if manifest.get("lava_neuron") == "stock":
        options["neuron"] = "stock"
    if manifest.get("allow_lossy"):
        options["allow_lossy"] = list(manifest["allow_lossy"])
    kept = {k: v for k, v in manifest.items() if k not in ("lava_neuron", "allow_lossy")}
    return {**kept, "target": {"name": str(manifest["target"]), "options": options}}


def read_graph(folder: Path, text: str, arrays: str) -> Graph:
    """A verified graph from its text and the `.npz` with its params.

    Raises:
        InvalidArtifact: naming the file that is damaged.
        ParseError, InvalidGraph: for a text that is no graph, and a graph that breaks an invariant.
    """
    graph = read_spk(folder / text)
    declared = sum(param.type.size for param in graph.params.values()) * _WIDEST
    stored = read_npz(folder / arrays, graph.params.keys(), most=declared + HEADERS)
    params = {}
    for name, param in graph.params.items():
        array = stored.get(name)
        if array is None:
            raise InvalidArtifact(f"holds no array '{name}'", loc=str(folder / arrays))
        if array.shape != param.type.shape or array.dtype != param.type.dtype.storage:
            raise InvalidArtifact(
                f"@{name} does not have its declared type", loc=str(folder / arrays)
            )
        params[name] = Param.of(array, param.type.dtype)
    return verify(graph.with_params(params))
