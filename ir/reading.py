"""Files that come from elsewhere: bounded before they are parsed, checked against a schema after.

Whatever a file holds, reading it gives values of the declared types or one error that names the
file and the field. Nothing in a file is run, and no text in it can be invalid Unicode.
"""

from __future__ import annotations

import io
import re
import stat
import struct
import tokenize
import zipfile
import zlib
from collections.abc import Collection
from pathlib import Path
from typing import TypeVar

import msgspec
import numpy as np

from spikec.ir.errors import InvalidArtifact, SpikecError
from spikec.ir.types import Array

T = TypeVar("T")
JSON_BYTES = 1 << 26
"""Size of the largest JSON file that is read: a report of ten thousand layers has a few MB."""
DEPTH = 32
"""Lists and objects inside each other, in all texts; our own files need ten."""
_DAMAGED = (
    OSError,
    EOFError,
    ValueError,
    KeyError,
    TypeError,
    AttributeError,
    IndexError,
    OverflowError,
    RuntimeError,
    MemoryError,
    SyntaxError,
    struct.error,
    tokenize.TokenError,
    zipfile.BadZipFile,
    zlib.error,
)
"""What zipfile and NumPy raise for damaged files."""
_NPY = np.lib.format.MAGIC_PREFIX
_STRING = re.compile(rb'"[^"\\]*(?:\\.[^"\\]*)*"?', re.DOTALL)


def read_text(
    path: Path, most: int = JSON_BYTES, *, error: type[SpikecError] = InvalidArtifact
) -> str:
    """A UTF-8 text of a bounded size; raises `error`."""
    content = read_bytes(path, most, error=error)
    try:
        return content.decode()
    except UnicodeDecodeError as fault:
        raise error(f"is no UTF-8 text (byte {fault.start})", loc=str(path)) from None


def read_bytes(
    path: Path, most: int = JSON_BYTES, *, error: type[SpikecError] = InvalidArtifact
) -> bytes:
    """A file of a bounded size; raises `error`."""
    content = read_start(path, most + 1, error=error)
    if len(content) > most:
        raise error(f"is larger than {most:,} bytes, the most that is read", loc=str(path))
    return content


def read_start(path: Path, size: int, *, error: type[SpikecError] = InvalidArtifact) -> bytes:
    """The first bytes of a file; raises `error`."""
    check_file(path, error=error)
    try:
        with path.open("rb") as file:
            return file.read(size)
    except OSError as fault:
        raise error(f"cannot be read: {fault.strerror or fault}", loc=str(path)) from None


def check_file(path: Path, *, error: type[SpikecError] = InvalidArtifact) -> None:
    """Raise `error` for what is no file: a pipe may never say anything, a device never end."""
    try:
        mode = path.stat().st_mode
    except FileNotFoundError:
        raise error("no such file", loc=str(path)) from None
    except OSError as fault:
        raise error(f"cannot be read: {fault.strerror or fault}", loc=str(path)) from None
    except ValueError:  # a NUL in the name
        raise error("is no name of a file", loc=repr(str(path))) from None
    if not stat.S_ISREG(mode):
        raise error(f"is {'a folder' if stat.S_ISDIR(mode) else 'no file'}", loc=str(path))


def check_depth(text: bytes, pairs: bytes = b"[]{}") -> str | None:
    """What is wrong where brackets outside strings are nested too deeply, else None."""
    depth = 0
    opening = pairs[::2]
    for bracket in re.finditer(b"[" + re.escape(pairs) + b"]", _STRING.sub(b"", text)):
        depth += 1 if bracket[0] in opening else -1
        if depth > DEPTH:
            return f"brackets are nested more than {DEPTH} deep"
    return None


def read_json(path: Path, kind: type[T], *, error: type[SpikecError] = InvalidArtifact) -> T:
    """A JSON file as a schema says, a type that msgspec knows; raises `error`."""
    return decode_json(read_bytes(path, error=error), kind, str(path), error=error)


def decode_json(
    content: bytes, kind: type[T], name: str, *, error: type[SpikecError] = InvalidArtifact
) -> T:
    """JSON as a schema says.

    Args:
        content: At most `JSON_BYTES`.
        kind: A type that msgspec knows. Fields that it does not have are left out.
        name: Of the file.
        error: What is raised, saying the field and what is wrong with it.
    """
    problem = check_depth(content)
    if problem is not None:
        raise error(problem, loc=name)
    try:
        return msgspec.json.decode(content, type=kind)
    except (msgspec.MsgspecError, ValueError, RecursionError) as fault:
        raise error(_problem(fault), loc=name) from None


def conform(
    value: object, kind: type[T], name: str, *, error: type[SpikecError] = InvalidArtifact
) -> T:
    """A value out of JSON as a schema says; raises `error`."""
    try:
        return msgspec.convert(value, kind)
    except (msgspec.MsgspecError, ValueError, RecursionError) as fault:
        raise error(_problem(fault), loc=name) from None


def _problem(fault: Exception) -> str:
    """`steps: expected int, got str` out of "Expected `int`, got `str` - at `$.steps`"."""
    text, _, place = str(fault).replace("`", "").partition(" - at ")
    text = text[:1].lower() + text[1:]
    if "matching regex" in text:  # which says little to those who did not write it
        text = "not of the expected form"
    key, path = place.startswith("key in "), place.removeprefix("key in ")
    field = path.removeprefix("$").removeprefix(".")
    if key:
        field = f"a name in {field}" if field else "a name"
    return f"{field}: {text}" if field else text


def is_npy(path: Path, *, error: type[SpikecError] = InvalidArtifact) -> bool:
    """Whether a file begins as an .npy does, or is called so; raises `error` for none."""
    return read_start(path, len(_NPY), error=error) == _NPY or path.suffix == ".npy"


def map_npy(path: Path, *, error: type[SpikecError] = InvalidArtifact) -> Array:
    """The array of an .npy, mapped, not read; raises `error`."""
    check_file(path, error=error)
    try:
        mapped: Array = np.load(path, allow_pickle=False, mmap_mode="r")
    except _DAMAGED as fault:
        raise error(f"cannot be read as .npy: {_first_line(fault)}", loc=str(path)) from None
    return mapped


def read_npz(
    path: Path,
    wanted: Collection[str] | None = None,
    *,
    most: int | None = None,
    hint: str | None = None,
    error: type[SpikecError] = InvalidArtifact,
) -> dict[str, Array]:
    """The wanted arrays of an .npz that are there; all without `wanted`.

    Args:
        path: The file.
        wanted: Names of arrays.
        most: Bytes that they may take in all.
        hint: What helps where they take more.
        error: What is raised for a damaged file, arrays of objects, arrays of one name, and too
            many bytes.
    """
    check_file(path, error=error)
    try:
        with path.open("rb") as file, zipfile.ZipFile(file) as archive:
            members = [m for m in archive.infolist() if m.filename.endswith(".npy")]
            names = [member.filename.removesuffix(".npy") for member in members]
            kept = [n for n in names if wanted is None or n in wanted]
            if len(set(kept)) != len(kept):
                double = next(n for n in kept if kept.count(n) > 1)
                raise error(f"holds '{double}' twice", loc=str(path))
            sizes = {n: m.file_size for n, m in zip(names, members, strict=True) if n in kept}
            if most is not None and sum(sizes.values()) > most:
                raise error(
                    f"its arrays take {sum(sizes.values()):,} bytes, of which {most:,} can be read",
                    loc=str(path),
                    hint=hint,
                )
            return {
                name: _read_member(archive, member)
                for name, member in zip(names, members, strict=True)
                if name in sizes
            }
    except _DAMAGED as fault:
        raise error(f"cannot be read as .npz: {_first_line(fault)}", loc=str(path)) from None


def _first_line(fault: Exception) -> str:
    return (str(fault).strip() or type(fault).__name__).splitlines()[0]


def npz_shapes(
    path: Path, *, error: type[SpikecError] = InvalidArtifact
) -> dict[str, tuple[int, ...]]:
    """The shapes of all arrays in an .npz, none of them read; raises `error`."""
    check_file(path, error=error)
    try:
        with path.open("rb") as file, zipfile.ZipFile(file) as archive:
            members = [m for m in archive.infolist() if m.filename.endswith(".npy")]
            heads = [_read_head(archive, member) for member in members]
            names = [member.filename.removesuffix(".npy") for member in members]
            return {name: shape for name, (shape, _, _) in zip(names, heads, strict=True)}
    except _DAMAGED as fault:
        raise error(f"cannot be read as .npz: {_first_line(fault)}", loc=str(path)) from None


def _read_head(
    archive: zipfile.ZipFile, member: zipfile.ZipInfo
) -> tuple[tuple[int, ...], np.dtype[np.generic], int]:
    """Shape and type that an array declares, and the bytes that this takes."""
    with archive.open(member) as file:
        head = io.BytesIO(file.read(1 << 16))
    major, minor = np.lib.format.read_magic(head)
    if (major, minor) == (1, 0):
        shape, _, dtype = np.lib.format.read_array_header_1_0(head)
    else:
        shape, _, dtype = np.lib.format.read_array_header_2_0(head)
    return shape, dtype, head.tell()


def _read_member(archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> Array:
    """One array; what it declares is what the archive says it has, before room is made for it."""
    shape, dtype, start = _read_head(archive, member)
    if dtype.hasobject:
        raise ValueError(f"'{member.filename}' holds Python objects, not numbers")
    size = dtype.itemsize
    for length in shape:
        size *= length
    if size < 0 or start + size != member.file_size:
        raise ValueError(f"'{member.filename}' does not hold the array that it declares")
    with archive.open(member) as file:
        array: Array = np.lib.format.read_array(file, allow_pickle=False)
    return array
