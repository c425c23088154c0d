"""How much memory there is: of the machine, of the container, and of what the user allows."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from spikec.ir import SpikecError, UsageError

ALLOWED = "SPIKEC_MEMORY"
"""Environment variable: bytes that may be used, such as 8G; without it what is available."""
MORE_MEMORY = f"a machine with more memory ({ALLOWED} says how much may be used)"
"""What always helps."""
_UNITS = {"K": 1 << 10, "M": 1 << 20, "G": 1 << 30, "T": 1 << 40}
UNLIMITED = 1 << 60
AT_ONCE = 1 << 30
"""Bytes that blocks of samples fill; larger ones are not quicker, and others need memory, too."""
_SHARE = 0.9
"""Of what is available; the rest is for what grows meanwhile."""


class OutOfMemory(SpikecError):
    """What was asked for needs more memory than there is."""


def budget(root: Path = Path("/")) -> int:
    """Bytes that may be used now.

    The smallest of what the machine has available (Linux), what each control group above this
    process has left, what RLIMIT_AS leaves, and what `SPIKEC_MEMORY` allows.
    """
    bounds = [*_machine(root), *_groups(root), *_limits(root)]
    available = int(min(bounds, default=UNLIMITED) * _SHARE)
    allowed = os.environ.get(ALLOWED)
    return available if allowed is None else min(available, _bytes(allowed))


def require(need: int, what: str, hint: str) -> None:
    """Refuse what would not fit.

    Args:
        need: Bytes, estimated.
        what: What needs them, the subject of a sentence.
        hint: What would need less.

    Raises:
        OutOfMemory: with the estimate and the hint.
    """
    have = budget()
    if need > have:
        raise OutOfMemory(
            f"{what} needs about {shown(need)} of memory, of which {shown(have)} may be used",
            hint=hint,
        )


def fitting(
    most: int, fixed: int, per_sample: int, what: str, hint: str, at_once: int = AT_ONCE
) -> int:
    """Samples at a time, from 1 to `most`, that fit the memory there is, or `at_once` if less.

    Args:
        most: Samples that are wanted at most.
        fixed: Bytes that are needed whatever their number, estimated.
        per_sample: Bytes that each needs, estimated.
        what: What needs them, the subject of a sentence.
        hint: What would need less.
        at_once: Bytes to fill at most.

    Raises:
        OutOfMemory: when not even one fits.
    """
    require(fixed + per_sample, f"{what} of one sample", hint)
    return max(1, min(most, (min(budget(), at_once) - fixed) // max(per_sample, 1)))


def shown(size: int) -> str:
    """Bytes for people."""
    unit, name = next(((u, n) for n, u in reversed(_UNITS.items()) if size >= u), (1, ""))
    return f"{size / unit:.3g} {name}{'i' if name else ''}B"


def _bytes(text: str) -> int:
    number, unit = text.strip().removesuffix("B").removesuffix("i"), 1
    if number[-1:].upper() in _UNITS:
        number, unit = number[:-1], _UNITS[number[-1].upper()]
    try:
        return int(float(number) * unit)
    except (ValueError, OverflowError):
        raise UsageError(f"{ALLOWED} must be a size such as 8G, not '{text}'") from None


def _machine(root: Path) -> Iterator[int]:
    with suppress(OSError, ValueError, IndexError):
        for line in (root / "proc/meminfo").read_text().splitlines():
            if line.startswith("MemAvailable:"):
                yield int(line.split()[1]) * 1024
                return
    with suppress(OSError, ValueError):  # not Linux: all that there is
        yield os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")


def _groups(root: Path) -> Iterator[int]:
    """What is left to each control group (version 1 or 2) that this process is in."""
    with suppress(OSError):
        for line in (root / "proc/self/cgroup").read_text().splitlines():
            _, controllers, path = line.split(":", 2)
            if controllers not in ("", "memory"):
                continue
            top = root / "sys/fs/cgroup" / controllers
            names = (
                ("memory.max", "memory.current")
                if controllers == ""
                else ("memory.limit_in_bytes", "memory.usage_in_bytes")
            )
            place = top / path.lstrip("/")
            for folder in (place, *place.parents):
                if not folder.is_relative_to(top):
                    break
                yield from _group(folder, *names)


def _group(folder: Path, limit: str, usage: str) -> Iterator[int]:
    with suppress(OSError, ValueError):  # "max", or a root without limits
        most, used = (int((folder / name).read_text()) for name in (limit, usage))
        if most < UNLIMITED:
            yield max(0, most - used + _reclaimable(folder))


def _reclaimable(folder: Path) -> int:
    """File pages that count as used but make room when it is needed."""
    with suppress(OSError, ValueError):
        for line in (folder / "memory.stat").read_text().splitlines():
            name, value = line.split()
            if name in ("inactive_file", "total_inactive_file"):
                return int(value)
    return 0


def _limits(root: Path) -> Iterator[int]:
    with suppress(ImportError, OSError, ValueError, IndexError):
        import resource

        most = resource.getrlimit(resource.RLIMIT_AS)[0]
        if most != resource.RLIM_INFINITY:
            pages = int((root / "proc/self/statm").read_text().split()[0])
            yield max(0, most - pages * resource.getpagesize())
