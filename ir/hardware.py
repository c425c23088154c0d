"""What a target can hold: plain data that a backend provides and passes receive."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal, get_args

import msgspec

from spikec.ir.errors import UsageError
from spikec.ir.reading import check_depth, conform, read_json, read_text

Status = Literal["official", "second-hand", "assumed"]
STATUSES: tuple[Status, ...] = get_args(Status)


@dataclass(frozen=True, slots=True)
class Provenance:
    """Where a figure comes from, and how far to trust it: official, second-hand or assumed."""

    source: str
    status: Status


@dataclass(frozen=True, slots=True)
class HardwareSpec:
    """Integer widths and sizes of a target. A limit of None is unknown and never checked.

    Attributes:
        name: The target's name.
        weight_bits: Signed synaptic weights.
        state_bits: Signed currents, potentials, thresholds and biases.
        input_bits: Unsigned graded inputs.
        chips: Chips that a network may use.
        cores_per_chip: Neurocores on a chip.
        neurons_per_core: Neurons that a core holds.
        synaptic_bytes_per_core: Memory for synapses in a core.
        synapses_per_chip: Synapses on a chip.
        max_delay: Longest delay of a synapse in steps.
        axons_in_per_core: Different senders that may reach a core.
        fan_in: Synapses of one neuron.
        provenance: Source and status of each figure, by its name.
    """

    name: str
    weight_bits: int = 8
    state_bits: int = 24
    input_bits: int = 8
    chips: int | None = None
    cores_per_chip: int | None = None
    neurons_per_core: int | None = None
    synaptic_bytes_per_core: int | None = None
    synapses_per_chip: int | None = None
    max_delay: int | None = None
    axons_in_per_core: int | None = None
    fan_in: int | None = None
    provenance: Mapping[str, Provenance] = field(default_factory=dict, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "provenance", MappingProxyType(dict(self.provenance)))

    def __reduce__(self) -> tuple[Any, ...]:
        values = [getattr(self, f.name) for f in fields(self)]
        return HardwareSpec, (*values[:-1], dict(self.provenance))

    @property
    def figures(self) -> dict[str, int | None]:
        """All figures by name."""
        return {name: getattr(self, name) for name in FIGURES}

    def describe(self) -> list[dict[str, Any]]:
        """Each figure with its source and status, for tables and reports."""
        unknown = Provenance("no reliable public figure; set it with --hardware", "assumed")
        rows = []
        for name, value in self.figures.items():
            origin = self.provenance.get(name, unknown)
            row = {"figure": name, "value": value, "status": origin.status, "source": origin.source}
            rows.append(row)
        return rows


FIGURES = tuple(f.name for f in fields(HardwareSpec) if f.name not in ("name", "provenance"))
_LAVA = Provenance("lava-nc 0.10.0, as its fixed-point models compute", "official")
_BRIEF = Provenance(
    "Intel's brief 'Taking Neuromorphic Computing to the Next Level with Loihi 2', as quoted by "
    "SANA-FE's documentation",
    "second-hand",
)

LOIHI2 = HardwareSpec(
    "loihi2",
    chips=1,
    cores_per_chip=128,
    neurons_per_core=8192,
    synaptic_bytes_per_core=128 * 1024,
    synapses_per_chip=120_000_000,
    max_delay=62,
    provenance={
        "weight_bits": _LAVA,
        "state_bits": _LAVA,
        "input_bits": Provenance(
            "spikec's input code; graded payloads hold up to 24 bits", "assumed"
        ),
        "chips": Provenance("a single-chip board", "assumed"),
        "cores_per_chip": _BRIEF,
        "neurons_per_core": _BRIEF,
        "synaptic_bytes_per_core": _BRIEF,
        "synapses_per_chip": _BRIEF,
        "max_delay": Provenance("netx of lava-dl; the chip is said to hold 63", "second-hand"),
    },
)
"""Loihi 2: widths as Lava 0.10 models them, sizes as far as they are public."""

SPECS = {LOIHI2.name: LOIHI2}
"""Known hardware by name."""


class _Head(msgspec.Struct):
    """What a file says beside figures."""

    name: str | None = None
    base: str | None = None


class _Figure(msgspec.Struct, forbid_unknown_fields=True):
    """A figure as a file gives it."""

    value: int | str
    source: str | None = None
    status: Status = "assumed"


def read_spec(path: Path, base: HardwareSpec) -> HardwareSpec:
    """A specification from a TOML or JSON file that overrides figures of `base`.

    Each figure is a number, or a table with `value`, `source` and `status`; 0 or the text
    "unknown" removes a limit. `name` names the hardware, `base` one of `SPECS` to start from.

    Raises:
        UsageError: when the file cannot be read or does not fit.
    """
    loaded = _load(path)
    head = conform(loaded, _Head, str(path), error=UsageError)
    if head.base is not None:
        if head.base not in SPECS:
            raise _wrong(path, f"unknown base '{head.base}'", f"one of {', '.join(SPECS)}")
        base = SPECS[head.base]
    values: dict[str, Any] = {}
    origins = dict(base.provenance)
    for key, entry in loaded.items():
        if key in _Head.__struct_fields__:
            continue
        if key not in FIGURES:
            raise _wrong(path, f"unknown figure '{key}'", f"one of {', '.join(FIGURES)}")
        values[key], origins[key] = _figure(path, key, entry)
    return replace(base, name=head.name or path.stem, provenance=origins, **values)


def _figure(path: Path, key: str, entry: Any) -> tuple[int | None, Provenance]:
    table = entry if isinstance(entry, dict) else {"value": entry}
    figure = conform(table, _Figure, f"{path}: {key}", error=UsageError)
    value, origin = figure.value, Provenance(figure.source or path.name, figure.status)
    widths = {"weight_bits": (2, 8), "state_bits": (8, 32), "input_bits": (1, 16)}
    if key not in widths and value in (0, "unknown"):
        return None, origin
    low, high = widths.get(key, (1, 1 << 62))
    if type(value) is not int or not low <= value <= high:
        wanted = f"{low} to {high}" if key in widths else "a number above 0, or 'unknown'"
        raise _wrong(path, f"'{key}' must be {wanted}, not {value!r}")
    return value, origin


def _load(path: Path) -> dict[str, Any]:
    if path.suffix == ".json":
        return read_json(path, dict[str, Any], error=UsageError)
    text = read_text(path, error=UsageError)
    problem = check_depth(text.encode())
    if problem is not None:
        raise _wrong(path, problem)
    try:
        return _toml(text, path)
    except ValueError as error:
        raise _wrong(path, f"cannot be read: {str(error).splitlines()[0]}") from None


def _toml(text: str, path: Path) -> dict[str, Any]:
    if sys.version_info >= (3, 11):
        import tomllib

        return tomllib.loads(text)
    raise _wrong(path, "TOML needs Python 3.11 or newer", "give the same figures as .json")


def _wrong(path: Path, message: str, hint: str | None = None) -> UsageError:
    return UsageError(f"hardware file: {message}", loc=str(path), hint=hint)
