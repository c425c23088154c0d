"""How to compile."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from spikec.backends import target
from spikec.compiler.pipeline import Pass, parse_pipeline
from spikec.ir import UsageError

FINE = 8
"""Weight bits from which on rounding may follow calibration."""


@dataclass(frozen=True, slots=True)
class Options:
    """How to compile; names and defaults as on the command line."""

    timesteps: int = 8
    target: str = "numpy"
    weight_bits: int = 8
    threshold: str = "per-channel"
    dni: str = "on"
    snm: str = "auto"
    spikes: str = "binary"
    payload_bits: int = 2
    bias: str = "on"
    reconstruct: str = "on"
    samples: int = 256
    seed: int = 0
    schedule: str = "synchronous"
    max_loss: float | None = None
    max_timesteps: int = 64
    pass_pipeline: str | None = None
    dump_ir: Path | None = None
    verify_each: bool = True
    require_proof: bool = False
    require_fit: bool = False
    hardware: Path | None = None

    def passes(self) -> list[Pass]:
        """The passes that these options stand for."""
        if self.pass_pipeline is not None:
            return self._strict(parse_pipeline(self.pass_pipeline))
        one_of("threshold", self.threshold, ("per-channel", "per-layer", "per-neuron"))
        one_of("dni", self.dni, ("on", "off", "half"))
        one_of("snm", self.snm, ("auto", "on", "off"))
        one_of("bias", self.bias, ("on", "off"))
        one_of("reconstruct", self.reconstruct, ("on", "off"))
        one_of("spikes", self.spikes, ("binary", "graded"))
        one_of("schedule", self.schedule, ("synchronous", "layerwise"))
        layerwise = self.schedule == "layerwise"
        if layerwise and self.spikes == "graded":
            raise UsageError("the layerwise schedule has no graded spikes")
        if self.payload_bits not in (1, 2, 3):
            raise UsageError(f"payload_bits must be 1, 2 or 3, not {self.payload_bits}")
        per = self.threshold.removeprefix("per-")
        theta = "layer" if per == "layer" else "channel"
        search = "joint" if self.dni == "on" else "none"
        names = ["channels_first", "quantisers", "linearise", "fold", "relay", "observe"]
        names.append(f"qcfs{{per={theta} v0={'zero' if self.dni == 'off' else 'half'}}}")
        names += ["layerwise"] if layerwise else []
        names += ["reconstruct"] if self.reconstruct == "on" else []
        names += [f"round{{bits={self.weight_bits}}}"] if self.weight_bits < FINE else []
        names += ["bias"] if self.bias == "on" else []
        if self.spikes == "graded":
            names.append(f"graded{{levels={1 << self.payload_bits} search={search} per={per}}}")
        else:
            names += [f"dni{{per={per}}}"] if self.dni == "on" else []
            signed = f"snm{{gate={self.snm} search={search} per={per}}}"
            names += [signed] if self.snm != "off" and not layerwise else []
        names += [f"quantise{{bits={self.weight_bits}}}", "correct"]
        names += [*target(self.target).legalise, "range", "place"]
        return self._strict(parse_pipeline(",".join(names)))

    def _strict(self, passes: list[Pass]) -> list[Pass]:
        """The passes, with those at their end that refuse what is asked to be refused."""
        for name, wanted in (("range", self.require_proof), ("place", self.require_fit)):
            if wanted:
                (strict,) = parse_pipeline(f"{name}{{require=true}}")
                found = [replace(p, require=True) if p.name == name else p for p in passes]  # type: ignore[call-arg]
                passes = found if any(p.name == name for p in passes) else [*passes, strict]
        return passes


def one_of(name: str, value: str, allowed: Sequence[str]) -> None:
    """Raise UsageError unless an option's value is one of `allowed`."""
    if value not in allowed:
        raise UsageError(f"{name} must be one of {', '.join(allowed)}, not '{value}'")
