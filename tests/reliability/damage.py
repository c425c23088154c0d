"""Damaged copies of the files that spikec reads: JSON, .npz, .spk.

Damage is seeded. Each variant has a name that says what was done to which field.
"""

from __future__ import annotations

import io
import json
import os
import random
import warnings
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

Json = Any
KINDS = ("bool", "i1", ">i4", "u8", "f2", ">f8", "c16", "S3", "U3", "M8[s]", "V4")
"""Types in place of an array's own."""
ODD: tuple[Json, ...] = (
    None, True, -1, 0, 10**30, 1.5, 1e300, "", "a\0b", "../../etc/passwd", "/etc/passwd",
    "<script>alert(1)</script>", "%s%n{0}", "$x$", "x" * 10_000, [], {}, [[[]]], [None],
    {"": None}, {"a\0b": 1}, "\u202e", "NaN",
)  # fmt: skip
"""Values in place of those that are there."""
RAW = (
    b"", b"{", b"[]", b"3", b"null", b'"text"', b"\xff\xfe", b"\xef\xbb\xbf{}", b'{"a": NaN}',
    b'{"a": 1e999}', b'{"format": ' + b"9" * 5000 + b"}", b'{"a": "\\ud800"}',
    b'{"a": "\xed\xa0\x80"}',
    b"[" * 100_000, b'{"a":' * 100_000, b"{" + b'"a":1,' * 10 + b'"a":1}', b"\0" * 100,
    b"// no JSON\n{}",
)  # fmt: skip
"""Contents in place of the whole file."""


def places(value: Json, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Where something stands in a value: keys and indices; of long lists the first and last."""
    if path:
        yield path
    if isinstance(value, dict):
        for key in value:
            yield from places(value[key], (*path, key))
    elif isinstance(value, list):
        for index in sorted({0, len(value) - 1} & set(range(len(value)))):
            yield from places(value[index], (*path, index))


def changed(value: Json, path: tuple[Any, ...], change: Callable[[Json, Any], None]) -> Json:
    """A copy in which `change` was made to what holds the end of a path."""
    copy = json.loads(json.dumps(value))
    holder = copy
    for key in path[:-1]:
        holder = holder[key]
    change(holder, path[-1])
    return copy


def damaged_json(content: bytes, seed: int, most: int) -> Iterator[tuple[str, bytes]]:
    """Variants of a JSON file, `most` at most beside those of the whole."""
    for index, raw in enumerate(RAW):
        yield f"all of it: {raw[:20]!r} ({index})", raw
    value, draw = json.loads(content), random.Random(seed)
    trials: list[tuple[tuple[Any, ...], str, Json]] = []
    for path in places(value):
        trials.append((path, "gone", None))
        trials += [(path, "is", odd) for odd in ODD]
        if isinstance(path[-1], str):
            trials.append((path, "renamed", None))
    for path, how, odd in draw.sample(trials, min(most, len(trials))):

        def change(holder: Json, key: Any, how: str = how, odd: Json = odd) -> None:
            if how == "is":
                holder[key] = odd
                return
            kept = holder.pop(key)
            if how == "renamed":
                holder[f"{key}\0"] = kept

        text = json.dumps(changed(value, path, change)).encode()
        yield f"{'.'.join(map(str, path))} {how} {str(odd)[:30]!r}", text


def damaged_npz(content: bytes, seed: int) -> Iterator[tuple[str, bytes]]:
    """Variants of an .npz."""
    draw = random.Random(seed)
    with np.load(io.BytesIO(content)) as archive:
        arrays = dict(archive)
    name = draw.choice(sorted(arrays))

    def packed(members: list[tuple[str, bytes]], method: int = zipfile.ZIP_DEFLATED) -> bytes:
        buffer = io.BytesIO()
        with zipfile.ZipFile(buffer, "w", method) as out:
            for member, data in members:
                out.writestr(member, data)
        return buffer.getvalue()

    def npy(array: Any, *, pickled: bool = False) -> bytes:
        buffer = io.BytesIO()
        np.lib.format.write_array(buffer, np.asanyarray(array), allow_pickle=pickled)
        return buffer.getvalue()

    own = {f"{key}.npy": npy(array) for key, array in arrays.items()}

    def with_member(data: bytes) -> bytes:
        return packed([*{**own, f"{name}.npy": data}.items()])

    yield "empty", b""
    yield "no archive", b"PK\3\4" + bytes(100)
    for part in (0.1, 0.5, 0.95):
        yield f"cut at {part}", content[: int(len(content) * part)]
    yield "no members", packed([])
    yield f"{name} is pickled", with_member(npy(np.array([{"a": 1}], object), pickled=True))
    yield f"{name} is text", with_member(b"hello")
    yield f"{name} is empty", with_member(b"")
    yield f"{name} is cut", with_member(own[f"{name}.npy"][:-1])
    yield f"{name} is longer", with_member(own[f"{name}.npy"] + b"\0")
    yield f"{name} has another type", with_member(npy(arrays[name].astype(np.complex64)))
    yield f"{name} has another shape", with_member(npy(arrays[name][None]))
    yield f"{name} has fields", with_member(npy(np.zeros(3, [("a", "i4"), ("b", "f8")])))
    yield f"{name} is missing", packed([m for m in own.items() if m[0] != f"{name}.npy"])
    yield "another member", packed([*own.items(), ("../evil.npy", npy(1))])
    buffer = io.BytesIO()
    header = {"descr": "<f4", "fortran_order": False, "shape": (1 << 40, 1 << 20)}
    np.lib.format.write_array_header_1_0(buffer, header)
    yield f"{name} says it is huge", with_member(buffer.getvalue() + b"1234")
    for shape in ((-1,), (1 << 70,), "x", ()):
        text = f"{{'descr': '<i4', 'fortran_order': False, 'shape': {shape!r}, }}".ljust(117) + "\n"
        yield (
            f"{name} has shape {shape!r}",
            with_member(b"\x93NUMPY\1\0" + len(text).to_bytes(2, "little") + text.encode()),
        )
    deep = "(" * 500 + ")" * 500
    text = f"{{'descr': {deep}, 'fortran_order': False, 'shape': (1,), }}\n"
    yield (
        f"{name} has a nested header",
        with_member(b"\x93NUMPY\1\0" + len(text).to_bytes(2, "little") + text.encode()),
    )
    for kind in KINDS:
        with np.errstate(all="ignore"), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield f"{name} is of type {kind}", with_member(npy(arrays[name].astype(kind)))
    if arrays[name].dtype.kind == "f":
        for value in (np.nan, np.inf, -1e300):
            odd = np.array(arrays[name], np.float64)
            odd.flat[draw.randrange(max(odd.size, 1)) : None] = value
            yield f"{name} holds {value}", with_member(npy(odd))
    yield f"{name} is turned round", with_member(npy(np.asfortranarray(arrays[name])))
    yield "not compressed", packed([*own.items()], zipfile.ZIP_STORED)
    yield "other compression", packed([*own.items()], zipfile.ZIP_LZMA)
    yield "many members", packed([*own.items(), *((f"{k}.npy", b"") for k in range(20_000))])
    plain, secret = (b"PK\1\2\x14\3\x14\0" + flags for flags in (b"\0", b"\1"))
    yield "encrypted", packed([*own.items()]).replace(plain, secret)


def doubled_npz(content: bytes) -> bytes:
    """An .npz that holds its first member twice; zipfile warns of it."""
    buffer = io.BytesIO(content)
    with zipfile.ZipFile(buffer) as archive:
        first = archive.namelist()[0]
        data = archive.read(first)
    with zipfile.ZipFile(buffer, "a") as archive:
        archive.writestr(first, data)
    return buffer.getvalue()


def damaged_spk(content: bytes, seed: int, most: int) -> Iterator[tuple[str, bytes]]:
    """Variants of a graph's text."""
    draw, text = random.Random(seed), content.decode()
    yield "empty", b""
    yield "no UTF-8", b"\xff" + content
    yield "NUL", b"graph @a\0b" + content
    yield "nested braces", b"graph @x <stage=int, steps=1> " + b"{" * 100_000
    yield "nested lists", text.replace("[", "[" * 500, 1).encode()
    yield "long integer", text.replace("steps=", "steps=" + "9" * 5000, 1).encode()
    words = ["0", "-1", "9" * 30, "1e999", "nan", "[]", "[[1]]", "%x", "@x", "u64[", '"', "=", ">",
             "f16[1,2]", "i24", "relu", "spike", "true", "{", "}", "\\", "\u2028"]  # fmt: skip
    for _ in range(most):
        kind = draw.randrange(3)
        lines = text.splitlines(keepends=True)
        if kind == 0:
            at = draw.randrange(len(lines))
            lines[at : at + 1] = [] if draw.random() < 0.5 else [lines[at]] * 2
            yield f"line {at + 1} gone or doubled", "".join(lines).encode()
            continue
        at = draw.randrange(len(lines))
        parts = lines[at].replace("[", " [ ").replace(",", " , ").replace("=", " = ").split(" ")
        place = draw.randrange(len(parts))
        parts[place] = draw.choice(words) if kind == 1 else parts[place][::-1]
        lines[at] = " ".join(parts).rstrip("\n") + "\n"
        yield f"line {at + 1}: {lines[at].strip()[:60]}", "".join(lines).encode()


def damaged_bytes(content: bytes, seed: int, most: int) -> Iterator[tuple[str, bytes]]:
    """Variants of any file."""
    draw = random.Random(seed)
    for _ in range(most):
        data, how = bytearray(content), draw.randrange(5)
        if how == 0:
            for place in draw.sample(range(len(data)), min(8, len(data))):
                data[place] ^= 1 << draw.randrange(8)
            yield "flipped bits", bytes(data)
            continue
        start, stop = sorted(draw.sample(range(len(data) + 1), 2))
        if how == 1:
            yield f"cut at {start}", bytes(data[:start])
        elif how == 2:
            yield f"without {start}:{stop}", bytes(data[:start] + data[stop:])
        elif how == 3:
            yield f"{start}:{stop} twice", bytes(data[:stop] + data[start:])
        else:
            data[start:stop] = bytes(stop - start)
            yield f"{start}:{stop} is zeros", bytes(data)


def odd_files(file: Path) -> Iterator[tuple[str, Callable[[], None]]]:
    """What may stand in a file's place, as functions that put it there."""

    def a_pipe() -> None:
        os.mkfifo(file)

    def a_loop() -> None:
        file.symlink_to(file)

    def endless() -> None:
        file.symlink_to("/dev/zero")

    def unreadable() -> None:
        file.symlink_to("/proc/self/mem")

    yield from {
        "gone": lambda: None, "a folder": file.mkdir, "a pipe": a_pipe, "endless": endless,
        "a link to itself": a_loop, "unreadable": unreadable,
    }.items()  # fmt: skip
