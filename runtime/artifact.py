"""The artifact: a directory that holds a compiled network and all that vouches for it."""

from __future__ import annotations

import hashlib
import io
import json
import os
import shutil
import tempfile
import zipfile
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from spikec.ir import Graph, InvalidArtifact, Param, parse, verify

FORMAT = 2
"""What is written. Format 1, whose target is a text, is read as well."""
RECIPE = "recipe.json"
REPORT = "report.json"
"""What is known of the network; not part of it, so no hash guards it."""
_EPOCH = (1980, 1, 1, 0, 0, 0)


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
    """Write an artifact beside its final name and move it into place in one step.

    Args:
        stored: What to write.
        folder: The artifact directory; an artifact that stands there is replaced.
        emit: Writes a backend's files into a subfolder.

    Raises:
        InvalidArtifact: when something else stands at `folder`.
    """
    folder = Path(folder)
    check_free(folder)
    folder.parent.mkdir(parents=True, exist_ok=True)
    made = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", dir=folder.parent))
    try:
        made.chmod(0o755)
        _write(stored, made)
        if emit is not None:
            target = made / str(stored.manifest["target"]["name"])
            target.mkdir()
            emit(target)
            if _is_empty(target):
                target.rmdir()
        files = sorted(p for p in made.rglob("*") if p.is_file())
        hashes = {p.relative_to(made).as_posix(): _hash(p) for p in files if p.name != REPORT}
        manifest = {**stored.manifest, "format": FORMAT, "files": hashes}
        (made / "manifest.json").write_text(to_json(manifest), encoding="utf-8")
        _swap(made, folder)
    finally:
        shutil.rmtree(made, ignore_errors=True)


def check_free(folder: Path) -> None:
    """Raise InvalidArtifact when something else than an artifact stands at `folder`."""
    if folder.exists() and not is_artifact(folder) and not _is_empty(folder):
        raise InvalidArtifact(
            "exists and is not an artifact; nothing was written",
            loc=str(folder),
            hint="choose another -o, or remove it",
        )


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
    part = folder / f".{REPORT}.part"
    try:
        part.write_text(to_json(report), encoding="utf-8")
        part.replace(folder / REPORT)
    finally:
        part.unlink(missing_ok=True)


def _swap(made: Path, folder: Path) -> None:
    if not folder.exists():
        made.rename(folder)
        return
    old = Path(tempfile.mkdtemp(prefix=f".{folder.name}.old.", dir=folder.parent))
    os.replace(folder, old / "was")
    try:
        made.rename(folder)
    except OSError:
        os.replace(old / "was", folder)
        raise
    finally:
        shutil.rmtree(old, ignore_errors=True)


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


def _hash(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _is_empty(folder: Path) -> bool:
    return folder.is_dir() and not any(folder.iterdir())


def is_artifact(folder: Path) -> bool:
    """Whether a directory looks like an artifact."""
    return (folder / "manifest.json").is_file() and (folder / "graph.spk").is_file()


def load(folder: str | Path) -> Stored:
    """Read an artifact and check the hashes of all its files.

    Raises:
        InvalidArtifact: when it is missing, damaged or of another format version.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise InvalidArtifact("no such artifact directory", loc=str(folder))
    try:
        manifest = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
        files = dict(manifest["files"])
        version = manifest["format"]
        if version == 1:
            manifest = _from_format_1(manifest)
        _ = manifest["steps"], manifest["passes"], manifest["model"]["sha256"]
        _ = manifest["target"]["name"], dict(manifest["target"]["options"])
    except (OSError, ValueError, KeyError, TypeError):
        raise InvalidArtifact("manifest.json is missing or damaged", loc=str(folder)) from None
    if version not in (1, FORMAT):
        raise InvalidArtifact(f"format {version}, this spikec reads {FORMAT}", loc=str(folder))
    for name, digest in files.items():
        path = folder / name
        if not path.resolve().is_relative_to(folder.resolve()) or not path.is_file():
            raise InvalidArtifact(f"{name} is missing", loc=str(folder))
        if _hash(path) != digest:
            raise InvalidArtifact(
                f"{name} was changed after it was compiled (its hash differs)",
                loc=str(folder),
                hint="compile the model again",
            )
    has_float = "float.spk" in files or "float.npz" in files
    for name in ("graph.spk", "weights.npz", *(("float.spk", "float.npz") if has_float else ())):
        if name not in files:
            raise InvalidArtifact(f"{name} is not listed in manifest.json", loc=str(folder))
    if not (folder / REPORT).is_file():
        raise InvalidArtifact(f"{REPORT} is missing", loc=str(folder))
    try:
        report = json.loads((folder / REPORT).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InvalidArtifact(f"{REPORT} cannot be read: {error}", loc=str(folder)) from None
    try:
        graph = read_graph(folder, "graph.spk", "weights.npz")
        floats = read_graph(folder, "float.spk", "float.npz") if has_float else None
        recipe = json.loads((folder / RECIPE).read_text("utf-8")) if RECIPE in files else None
        return Stored(graph, floats, manifest, report, recipe)
    except (OSError, ValueError, KeyError, zipfile.BadZipFile, zlib.error) as error:
        raise InvalidArtifact(f"cannot be read: {error}", loc=str(folder)) from None


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
    """A verified graph from its text and the `.npz` with its params."""
    graph = parse((folder / text).read_text(encoding="utf-8"), file=text)
    with np.load(io.BytesIO((folder / arrays).read_bytes()), allow_pickle=False) as stored:
        params = {}
        for name, param in graph.params.items():
            array = stored[name]
            if array.shape != param.type.shape or array.dtype != param.type.dtype.storage:
                raise InvalidArtifact(f"@{name} does not have its declared type", loc=arrays)
            params[name] = Param.of(array, param.type.dtype)
    return verify(graph.with_params(params))
