"""Outputs: every file and folder that a command writes appears whole or not at all.

What is written lies in a stage, `.NAME.XXXXXXXX.spikec` beside the output, until one system call
puts it in place: a rename, or the exchange of two folders. A process holds its stage locked for as
long as it lives; the next run on the same output removes the stages of dead processes, and puts
back a folder that was on its way out. An existing folder is replaced only if its manifest says that
spikec wrote it, and what others put into it moves along.
"""

from __future__ import annotations

import ctypes
import errno
import importlib
import os
import secrets
import shutil
import sys
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

from spikec.ir import InvalidArtifact, UsageError
from spikec.runtime.manifests import KINDS, Kind, is_page

STAGE = ".spikec"
"""Ends the name of a stage."""
_NEW, _OLD, _LOCK = "new", "old", "lock"
"""All that a stage holds: what is written, the folder that it replaces, and the lock."""
PAGE = "report.html"
"""What `spikec report` writes into an artifact; it is no part of it."""
_ANOTHER = "choose another -o, or remove it"


def check_folder(path: Path, kind: Kind, inputs: Iterable[Path | None] = ()) -> Path:
    """Refuse before any work what `new_folder` would refuse after it.

    Args:
        path: The folder to be written. A link means what it points to.
        kind: What it is to hold.
        inputs: Files that the command reads.

    Returns:
        The folder's real place.

    Raises:
        InvalidArtifact: when something else stands there.
        UsageError: when it cannot be written to, or when replacing it would take an input away.
    """
    place = _real(path)
    settle(place)
    written = _replaceable(place, path, kind)
    if os.path.ismount(place):
        raise UsageError(
            f"{path} is where another file system is mounted, and cannot be replaced",
            hint="name a folder in it",
        )
    here = Path.cwd()
    if place.exists() and (place == here or place in here.parents):
        raise UsageError(
            f"{path} is the working directory, or holds it, and cannot be replaced",
            hint="run the command from elsewhere, or choose another -o",
        )
    for given in filter(None, inputs):
        source = _real(given)
        if source.is_relative_to(place) and source.relative_to(place).as_posix() in written:
            raise UsageError(f"-o {path} would replace the input {given}", hint="choose another -o")
    _check_parent(place, path)
    return place


def check_file(path: Path, inputs: Iterable[Path | None] = ()) -> Path:
    """Refuse before any work what `write_file` would refuse after it.

    Args:
        path: The file to be written. A link means what it points to.
        inputs: Files that the command reads.

    Returns:
        The file's real place.

    Raises:
        UsageError: when no file can be written there, or when it is an input or a part of
            something that spikec wrote.
    """
    place = _real(path)
    if place.is_dir():
        raise UsageError(f"{path} is a directory; name a file")
    if place.exists() and not place.is_file():
        raise UsageError(f"{path} is no file that can be replaced; name another")
    for given in filter(None, inputs):
        if place.exists() and given.exists() and place.samefile(given):
            raise UsageError(f"-o {path} would replace the input {given}", hint="choose another -o")
    for folder in place.parents:
        name = place.relative_to(folder).as_posix()
        if any(name in (kind.written(folder) or ()) for kind in KINDS):
            raise UsageError(
                f"-o {path} would replace a part of {folder}", hint="choose another -o"
            )
    _check_parent(place, path)
    settle(place)
    return place


def write_file(path: Path, content: bytes) -> None:
    """Write a file in one step; raises what `check_file` does."""
    replace_file(check_file(path), content)


def replace_file(place: Path, content: bytes) -> None:
    """Write a file in one step, whatever it is part of."""
    with _stage(place) as stage:
        made = stage / _NEW
        made.write_bytes(content)
        if place.exists():
            shutil.copymode(place, made)
        os.replace(made, place)


@contextmanager
def new_folder(path: Path, kind: Kind) -> Iterator[Path]:
    """A folder to fill, which takes its place in one step when the context ends without an error.

    What others put into the folder that it replaces is kept.

    Args:
        path: The folder to be written.
        kind: What it holds. Its manifest must be among what is filled in.

    Raises:
        InvalidArtifact: when something else stands there, or when a file that others put there
            has the name of one that is to be written.
        UsageError: as `check_folder`.
    """
    place = check_folder(path, kind)
    with _stage(place) as stage:
        made = stage / _NEW
        made.mkdir()
        yield made
        if place.exists():
            shutil.copymode(place, made)
            _keep_others(place, made, _replaceable(place, path, kind))
        _put(made, place)


def remove_folder(path: Path, kind: Kind) -> None:
    """Remove what spikec wrote into a folder of this kind; the folder too, if that was all."""
    place = _real(path)
    settle(place)
    written = kind.written(place)
    if written is None:
        return
    for stage in _stages(place, "."):
        settle(place / stage.name[1 : -len(f".01234567{STAGE}")])
    for name in sorted(written, key=lambda name: name == kind.file):  # what makes it ours is last
        (place / name).unlink(missing_ok=True)
    with suppress(OSError):  # others put something there
        place.rmdir()


def settle(place: Path) -> None:
    """Remove what dead processes left of writing `place`; put back what they took away."""
    for stage in _stages(place.parent, f".{place.name}."):
        with ExitStack() as held:
            lock = _lock(stage, held)
            if lock is None or not lock:
                continue
            if (stage / _OLD).exists() and not place.exists():
                os.rename(stage / _OLD, place)
            shutil.rmtree(stage, ignore_errors=True)


def _real(path: Path) -> Path:
    try:
        return path.resolve()
    except (OSError, RuntimeError) as error:  # a circle of links; before Python 3.13 RuntimeError
        raise UsageError(f"{path}: {error}") from None


def _check_parent(place: Path, path: Path) -> None:
    parent = next(p for p in place.parents if p.exists())
    if not parent.is_dir():
        raise UsageError(f"cannot write {path}: {parent} is not a directory")
    if not os.access(parent, os.W_OK):
        raise UsageError(f"cannot write {path}: no permission to write in {parent}")


def _replaceable(place: Path, path: Path, kind: Kind) -> set[str]:
    """The files that spikec wrote into a folder of this kind; none where there is none yet."""
    if not place.exists() or (place.is_dir() and not any(_others(place, set()))):
        return set()
    written = kind.written(place)
    if written is None:
        raise InvalidArtifact(
            f"exists and is not {kind.what}; nothing was written", loc=str(path), hint=_ANOTHER
        )
    return written | {page for page in (PAGE,) if is_page(place / page)}


def _others(folder: Path, written: set[str]) -> Iterator[str]:
    """Files below a folder that spikec did not write; links are not followed."""
    for root, folders, names in os.walk(folder):
        inside = Path(root)
        stages = {stage.name for stage in _stages(inside, ".")}
        folders[:] = sorted(name for name in folders if name not in stages)
        links = [name for name in folders if (inside / name).is_symlink()]
        for name in sorted(names) + links:
            file = (inside / name).relative_to(folder).as_posix()
            if file not in written:
                yield file


def _keep_others(place: Path, made: Path, written: set[str]) -> None:
    """Put the files that spikec did not write into the new folder, too."""
    for file in _others(place, written):
        target = made / file
        if os.path.lexists(target) or any(p.is_file() for p in target.parents):
            raise InvalidArtifact(
                f"{file} was not written by spikec and would be replaced; nothing was written",
                loc=str(place),
                hint="move it elsewhere, or choose another -o",
            )
        target.parent.mkdir(parents=True, exist_ok=True)
        try:
            os.link(place / file, target, follow_symlinks=False)
        except OSError:  # a file system without links, or a file of another user
            shutil.copy2(place / file, target, follow_symlinks=False)


def _put(made: Path, place: Path) -> None:
    """Put a folder in place; what stood there is then in the stage."""
    if not place.exists():
        os.rename(made, place)
        return
    if exchange(made, place):
        return
    old = made.with_name(_OLD)
    try:
        os.rename(place, old)
        os.rename(made, place)
        os.rename(old, made)  # nothing puts it back any more
    except BaseException:
        if old.exists() and not place.exists():
            os.rename(old, place)
        raise


def exchange(left: Path, right: Path) -> bool:
    """Exchange two paths in one step; False where the system or the file system cannot."""
    sys.audit("spikec.exchange", str(left), str(right))
    rename = getattr(ctypes.CDLL(None, use_errno=True), "renameat2", None) if _LINUX else None
    if rename is None:
        return False
    here, exchanged = -100, 2
    if rename(here, os.fsencode(left), here, os.fsencode(right), exchanged) == 0:
        return True
    number = ctypes.get_errno()
    if number in (errno.EINVAL, errno.ENOSYS, errno.ENOTSUP):
        return False
    raise OSError(number, os.strerror(number), str(right))


_LINUX = sys.platform == "linux"


@contextmanager
def _stage(place: Path) -> Iterator[Path]:
    """A folder beside `place` that no other process touches; gone afterwards."""
    settle(place)
    place.parent.mkdir(parents=True, exist_ok=True)
    with ExitStack() as held:
        while True:
            stage = place.parent / f".{place.name}.{secrets.token_hex(4)}{STAGE}"
            stage.mkdir(mode=0o700)
            if _lock(stage, held) is not False and stage.exists():
                break  # else another run took it for left behind
        try:
            yield stage
        finally:
            shutil.rmtree(stage, ignore_errors=True)


def _stages(folder: Path, start: str) -> Iterator[Path]:
    """Stages in a folder whose names start so. They hold nothing else than stages do."""
    try:
        names = sorted(os.listdir(folder))
    except OSError:
        return
    for name in names:
        middle = name[len(start) : -len(STAGE)] if start != "." else name[-15:-7]
        token = len(middle) == 8 and set(middle) <= set("0123456789abcdef")
        if name.startswith(start) and name.endswith(STAGE) and token:
            stage = folder / name
            if stage.is_dir() and set(os.listdir(stage)) <= {_NEW, _OLD, _LOCK}:
                yield stage


def _lock(stage: Path, held: ExitStack) -> bool | None:
    """Lock a stage until `held` is closed.

    Returns:
        False where another process holds or has removed it, None where nothing can be locked.
    """
    try:
        fcntl: Any = importlib.import_module("fcntl")
        file = held.enter_context((stage / _LOCK).open("ab"))
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return stage.exists()
    except (BlockingIOError, FileNotFoundError):
        return False
    except (ImportError, OSError):
        return None
