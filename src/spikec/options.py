"""How to compile: each option stated once, for Python, the command line and the documentation.

This module imports nothing heavy: `spikec compile --help` is made from it.
"""

from __future__ import annotations

import dataclasses
import shlex
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, TypedDict, get_args, get_type_hints

if TYPE_CHECKING:
    from spikec.compiler.pipeline import Pass

RECIPE = "recipe.json"
"""Name of the file in an artifact that holds the options it was compiled with."""
Metric: TypeAlias = Literal["argmax", "relative"]
"""How an output is judged: by its classes, or by how far its numbers are off."""
STEPS = 8
"""Time steps where nothing says how many."""
LAYER = "layer:"
"""Before the name of a layer in a setting."""
FINE = 8
"""Weight bits from which on rounding may follow calibration."""
_MANY = 255
"""Levels from which on one more rounding costs nothing that could be measured."""


@dataclasses.dataclass(frozen=True, slots=True)
class About:
    """What is known of an option besides its type and default.

    Attributes:
        text: One line for `--help` and the reference.
        group: Under which heading it stands there.
        low: Smallest value, of a number.
        high: Largest value, of a number.
        aliases: What other tools call it, for suggestions.
    """

    text: str
    group: str = "Network"
    low: int | None = None
    high: int | None = None
    aliases: tuple[str, ...] = ()


def option(default: Any, text: str, group: str, **more: Any) -> Any:
    """A field of `Options` with what is known of it."""
    return dataclasses.field(default=default, metadata={"about": About(text, group, **more)})


NETWORK, CALIBRATION, CHOICE = "Network", "Calibration", "Choosing the time steps"
CHECKS, PIPELINE = "What to refuse", "Passes"
Switch = Literal["on", "off"]


@dataclasses.dataclass(frozen=True, slots=True)
class Options:
    """How to compile; names and defaults as on the command line.

    Raises:
        UsageError: for a value that an option cannot take.
    """

    timesteps: int | None = option(
        None,
        f"time steps T; by default {STEPS}, or the number of frames",
        NETWORK,
        low=1,
        aliases=("T", "num_steps", "time_steps"),
    )
    target: str = option(
        "numpy",
        "what to emit, with options in braces: 'lava{neuron=stock}'",
        NETWORK,
        aliases=("backend",),
    )
    weight_bits: int = option(
        8, "signed weight width", NETWORK, low=2, high=8, aliases=("bits", "nbits")
    )
    schedule: Literal["synchronous", "layerwise", "mixed"] = option(
        "synchronous",
        "layerwise: layer after layer, exactly the quantised ANN; mixed: only joins and relays "
        "wait, where that pays",
        NETWORK,
    )
    spikes: Literal["binary", "graded"] = option(
        "binary", "graded: payloads 1, 2, 4, ... (instead of snm)", NETWORK
    )
    code: Literal["rate", "radix"] = option(
        "rate",
        "radix: spikes are binary digits, most significant first; 2^T levels (binary, layerwise)",
        NETWORK,
    )
    payload: Literal["power2", "integer"] = option(
        "power2", "what graded spikes carry: 1, 2, 4, ... or any integer", NETWORK
    )
    payload_bits: int = option(
        2,
        "graded: power2 has 2^N payloads and a sign besides; integer N bits, sign included",
        NETWORK,
        low=1,
        high=8,
    )
    payload_budget: float | None = option(
        None,
        "graded: bits that spikes carry on average, sign included; layers get what pays",
        NETWORK,
        low=1,
        high=9,
    )
    threshold: Literal["per-channel", "per-layer", "per-neuron"] = option(
        "per-channel",
        "what shares a threshold; per-neuron: v0 alone is each neuron's own",
        CALIBRATION,
    )
    dni: Literal["on", "half", "off"] = option(
        "on", "initial potentials: from data (theta as well), half of theta, or 0", CALIBRATION
    )
    snm: Literal["auto", "on", "off"] = option(
        "auto", "signed neurons with memory: where they gain, everywhere, nowhere", CALIBRATION
    )
    bias_correction: Switch = option(
        "on", "correct biases on real spikes", CALIBRATION, aliases=("bias",)
    )
    reconstruct: Literal["on", "blocks", "off"] = option(
        "on",
        "refit weights to real spikes; blocks: and tune blocks of layers, for minutes",
        CALIBRATION,
    )
    metric: tuple[str, ...] = option(
        (),
        "how an output is judged: argmax of its classes, or relative error of its numbers",
        NETWORK,
    )
    shape: tuple[str, ...] = option(
        (),
        "shape of an input whose sizes the model leaves open, the batch first",
        NETWORK,
    )
    frames: tuple[str, ...] = option(
        (),
        "an input whose data are (N, T, *shape): step t takes frame t, the ANN their mean",
        NETWORK,
    )
    images: str | None = option(
        None,
        "how to prepare images of a folder: resize=256,crop=224,mean=0.5,std=0.25",
        CALIBRATION,
    )
    samples: int = option(
        256, "calibration samples to use", CALIBRATION, low=1, aliases=("num_samples",)
    )
    seed: int = option(0, "seeds every random choice", CALIBRATION)
    max_loss: float | None = option(
        None, "find the smallest T that loses at most this share, such as 0.01", CHOICE
    )
    max_timesteps: int = option(64, "the largest T that is tried for a loss", CHOICE, low=1)
    require_proof: bool = option(False, "refuse layers that might overflow", CHECKS)
    require_fit: bool = option(False, "refuse a network that exceeds the hardware", CHECKS)
    allow_rounding_loss: bool = option(
        False, "go on where rounding to integers loses much, and say so", CHECKS
    )
    hardware: Path | None = option(None, "TOML or JSON with figures of your hardware", CHECKS)
    pass_pipeline: str | None = option(None, "passes to run instead", PIPELINE)
    set: tuple[str, ...] = option(
        (),
        "one option of one pass, PASS.OPTION=VALUE, such as dni.samples=8192; or of one layer, "
        "layer:NAME.weight_bits=6",
        PIPELINE,
    )
    dump_ir: Path | None = option(None, "write the graph after each pass", PIPELINE)
    verify_each: bool = option(True, "verify the graph after each pass", PIPELINE)

    def __post_init__(self) -> None:
        from spikec.ir import UsageError
        from spikec.ir.options import choices, convert

        hints = get_type_hints(Options)
        for field in dataclasses.fields(self):
            value, about = getattr(self, field.name), about_of(field)
            if hints[field.name] not in (Path | None, tuple[str, ...]):
                try:
                    convert(value, hints[field.name])
                except (KeyError, TypeError, ValueError):
                    wanted = choices(hints[field.name])
                    raise UsageError(f"{field.name} must be {wanted}, not '{value}'") from None
            if value is None:
                continue
            if about.low is not None and value < about.low:
                raise UsageError(f"{field.name} must be at least {about.low}, not {value}")
            if about.high is not None and value > about.high:
                raise UsageError(f"{field.name} must be at most {about.high}, not {value}")
        if self.max_loss is not None and not 0 <= self.max_loss < 1:
            raise UsageError(f"max_loss must be from 0 up to 1 (a share), not {self.max_loss:g}")
        if self.max_loss is not None and self.frames:
            raise UsageError(
                "max_loss chooses T, and frames give it: step t takes frame t",
                hint="leave out max_loss, or try a smaller T, such as timesteps=4",
            )
        if self.code == "radix" and self.spikes == "graded":
            raise UsageError("a radix code has binary spikes: their payload is their step")
        if self.code == "radix" and self.schedule == "mixed":
            raise UsageError(
                "a radix code needs windows in all layers, and schedule=mixed has few",
                hint="schedule=layerwise, or code=rate",
            )
        if self.schedule == "mixed" and self.frames:
            raise UsageError(
                "schedule=mixed has windows, which add up all frames before a layer fires",
                hint="frames need schedule=synchronous",
            )
        defaults = {field.name: field.default for field in dataclasses.fields(self)}
        for name in ("payload", "payload_bits", "payload_budget"):
            if self.spikes != "graded" and getattr(self, name) != defaults[name]:
                given = f"{name}={getattr(self, name)}"
                raise UsageError(f"{given} is for graded spikes", hint="give spikes=graded too")
        if self.payload_budget is not None and self.payload_bits != defaults["payload_bits"]:
            raise UsageError(
                "payload_budget chooses the bits of each layer, payload_bits gives them to all",
                hint="leave out one of them",
            )
        if self.spikes == "graded" and self.payload == "power2" and self.payload_bits > 3:
            raise UsageError(
                f"power2 payloads of {self.payload_bits} bits reach beyond 2^7",
                hint="payload_bits up to 3, or payload=integer",
            )

    @staticmethod
    def of(settings: Mapping[str, Any]) -> Options:
        """Options by name.

        Raises:
            UsageError: for an unknown name, with the one that was meant.
        """
        from spikec.ir import UsageError
        from spikec.ir.options import suggestion

        known = {field.name: about_of(field) for field in dataclasses.fields(Options)}
        for name in settings:
            if name not in known:
                meant = [key for key, about in known.items() if name in about.aliases]
                near = f"did you mean {meant[0]}?" if meant else suggestion(name, known)
                raise UsageError(
                    f"compile() has no option '{name}'", hint=near or f"one of {', '.join(known)}"
                )
        metrics = settings.get("metric", ())
        if isinstance(metrics, Mapping):
            metrics = [f"{name}={metric}" for name, metric in metrics.items()]
        given, shapes = settings.get("set", ()), settings.get("shape", ())
        if isinstance(given, Mapping):
            given = [f"{place}={value}" for place, value in given.items()]
        if isinstance(shapes, Mapping):
            shapes = [f"{name}={','.join(map(str, shape))}" for name, shape in shapes.items()]
        frames = settings.get("frames", ())
        frames = [frames] if isinstance(frames, str) else frames
        return Options(
            **{
                **settings,
                "set": tuple(given),
                "shape": tuple(shapes),
                "metric": tuple(metrics),
                "frames": tuple(frames),
            }
        )

    @property
    def steps(self) -> int:
        """T."""
        return STEPS if self.timesteps is None else self.timesteps

    def metrics(self) -> dict[str, Metric]:
        """How outputs are judged, by name; raises UsageError for other text."""
        return read_metrics(self.metric)

    def shapes(self) -> dict[str, tuple[int, ...]]:
        """The shapes of inputs that were given, by name; raises UsageError for other text."""
        return read_shapes(self.shape)

    def passes(self) -> list[Pass]:
        """The passes that these options stand for.

        Raises:
            UsageError: for a setting of a pass that is not among them.
            ParseError, PassError: for an unknown pass or option, or a value that it cannot take.
        """
        from spikec.compiler.pipeline import parse_pipeline

        text = self.pass_pipeline
        return parse_pipeline(self._set(self._standard() if text is None else text))

    def _standard(self) -> str:
        """The pipeline that the other options stand for."""
        from spikec.backends import target

        layerwise = self.schedule == "layerwise" or self.code == "radix"
        per = self.threshold.removeprefix("per-")
        theta = "layer" if per == "layer" else "channel"
        search = "joint" if self.dni == "on" else "none"
        names = ["channels_first", "quantisers"]
        counted = self._levels() or (self.steps if layerwise else 0)
        names += [f"offset{{levels={counted}}}"] if counted else []
        fine = self._levels() >= _MANY and self.payload_budget is None  # a budget may take levels
        relay = "relay{sums=true}" if fine else "relay"
        names += ["linearise", "fold", relay, "observe"]
        start = "zero" if self.dni == "off" else "half"
        if self.payload_budget is not None:
            window = " window=true" if layerwise else ""
            names.append(f"budget{{bits={self.payload_budget:g} payload={self.payload}{window}}}")
        names.append(f"qcfs{{levels={self._levels()} per={theta} v0={start}}}")
        names += [f"layerwise{{code={self.code}}}"] if layerwise else []
        names += ["reconstruct"] if self.reconstruct != "off" else []
        names += [f"round{{bits={self.weight_bits}}}"] if self.weight_bits < FINE else []
        names += ["bias"] if self.bias_correction == "on" else []
        names += ["mixed"] if self.schedule == "mixed" else []
        if self.spikes == "graded" and self.payload == "integer":
            names.append(f"payload{{bits={self.payload_bits} search={search} per={per}}}")
        elif self.spikes == "graded":
            names.append(f"graded{{levels={1 << self.payload_bits} search={search} per={per}}}")
        else:
            names += [f"dni{{per={per}}}"] if self.dni == "on" else []
            signed = f"snm{{gate={self.snm} search={search} per={per}}}"
            names += [signed] if self.snm != "off" and not layerwise else []
        stay = "" if self.weight_bits >= FINE else "{weights=false}"  # on the grid of `round`
        names += [f"blocks{stay}"] if self.reconstruct == "blocks" else []
        names += [f"quantise{{bits={self.weight_bits}}}", "correct"]
        return ",".join([*names, *target(self.target).legalise, "range", "place"])

    def _levels(self) -> int:
        """Levels that thresholds are chosen for, where they are not the time steps; else 0."""
        if self.code == "radix":
            return (1 << self.steps) - 1
        if self.spikes == "graded" and self.payload == "integer":
            return self.steps * ((1 << self.payload_bits) - 1)
        return 0

    def _set(self, pipeline: str) -> str:
        """A pipeline with single options of its passes set, and what is to be refused."""
        from spikec.ir import UsageError
        from spikec.ir.options import JOIN, read_call, split_list, suggestion, write_call

        calls = [read_call(text, "pass") for text in split_list(pipeline)]
        for name, wanted in (("range", self.require_proof), ("place", self.require_fit)):
            if wanted:
                calls += [] if any(name == call for call, _ in calls) else [(name, {})]
                calls = [
                    (call, {**given, "require": "true"} if call == name else given)
                    for call, given in calls
                ]
        if self.require_proof:
            calls = [
                (call, {**given, "proof": "true"} if call == "quantise" else given)
                for call, given in calls
            ]
        for setting in self.set:
            name, key, value = _setting(setting)
            if name.startswith(LAYER):
                name, key, value = "quantise", "layer_bits", f"{name.removeprefix(LAYER)}:{value}"
            names = [call for call, _ in calls]
            if name not in names:
                raise UsageError(
                    f"--set {setting}: the pipeline has no pass '{name}'",
                    hint=suggestion(name, names) or f"its passes: {', '.join(names)}",
                )
            for call, given in calls:
                if call == name:
                    many = key == "layer_bits" and key in given
                    given[key] = f"{given[key]}{JOIN}{value}" if many else value
        return ",".join(write_call(name, given) for name, given in calls)

    def command(self, model: str) -> str:
        """The command that makes the same network of a model, as it is typed."""
        words = ["spikec", "compile", model, "--calib", "CALIB", "-o", "OUT"]
        for name, value in self.recipe().items():
            flag = name.replace("_", "-")
            if isinstance(value, bool):
                words.append(f"--{flag}" if value else f"--no-{flag}")
                continue
            for part in value if isinstance(value, list) else [value]:
                words += [f"--{flag}", str(part)]
        return shlex.join(words)

    def recipe(self) -> dict[str, Any]:
        """What differs from the defaults, for a file that makes the same network again."""
        values = {
            f.name: getattr(self, f.name)
            for f in dataclasses.fields(self)
            if f.name not in ("dump_ir", "verify_each") and getattr(self, f.name) != f.default
        }
        return {
            key: str(value)
            if isinstance(value, Path)
            else list(value)
            if isinstance(value, tuple)
            else value
            for key, value in values.items()
        }


def read_recipe(path: str | Path) -> dict[str, Any]:
    """The settings in a recipe file, or in that of an artifact directory.

    Raises:
        UsageError: when it cannot be read.
    """
    from spikec.ir import UsageError
    from spikec.ir.reading import conform, read_json

    file = Path(path) / RECIPE if Path(path).is_dir() else Path(path)
    settings = read_json(file, dict[str, Any], error=UsageError)
    read = conform(settings, _recipe_schema(), str(file), error=UsageError)
    known = {name: getattr(read, name) for name in read.__struct_fields__ if name in settings}
    if known.get("hardware") is not None:
        known["hardware"] = Path(known["hardware"])
    try:
        Options.of({**settings, **known})
    except UsageError as error:
        error.loc = error.loc or str(file)
        raise
    return known


@cache
def _recipe_schema() -> type[Any]:
    """The options as what a recipe may hold; paths are texts there."""
    import msgspec

    hints = get_type_hints(Options)
    return msgspec.defstruct(
        "Recipe",
        [
            (f.name, str | None if hints[f.name] == Path | None else hints[f.name], f.default)
            for f in dataclasses.fields(Options)
        ],
    )


def _setting(text: str) -> tuple[str, str, str]:
    """The pass (or layer), option and value of `PASS.OPTION=VALUE`."""
    from spikec.ir import UsageError

    place, equals, value = text.partition("=")
    name, dot, key = place.strip().rpartition(".")
    if not (equals and dot and name and key and value.strip()):
        raise UsageError(f"--set takes PASS.OPTION=VALUE, such as dni.samples=8192, not '{text}'")
    if name.startswith(LAYER) and key != "weight_bits":
        raise UsageError(f"--set {text}: a layer's own option is weight_bits", hint=f"not {key}")
    return name, key, value.strip()


class Settings(TypedDict, total=False):
    """The fields of `Options` as keywords."""

    timesteps: int | None
    target: str
    weight_bits: int
    schedule: Literal["synchronous", "layerwise", "mixed"]
    spikes: Literal["binary", "graded"]
    code: Literal["rate", "radix"]
    payload: Literal["power2", "integer"]
    payload_bits: int
    payload_budget: float | None
    threshold: Literal["per-channel", "per-layer", "per-neuron"]
    dni: Literal["on", "half", "off"]
    snm: Literal["auto", "on", "off"]
    bias_correction: Switch
    reconstruct: Literal["on", "blocks", "off"]
    metric: Sequence[str] | Mapping[str, str]
    shape: Sequence[str] | Mapping[str, Sequence[int]]
    frames: str | Sequence[str]
    images: str | None
    samples: int
    seed: int
    max_loss: float | None
    max_timesteps: int
    require_proof: bool
    require_fit: bool
    allow_rounding_loss: bool
    hardware: Path | None
    pass_pipeline: str | None
    set: Sequence[str] | Mapping[str, object]
    dump_ir: Path | None
    verify_each: bool


def read_metrics(texts: Sequence[str]) -> dict[str, Metric]:
    """Metrics by output out of `OUTPUT=argmax|relative`."""
    from spikec.ir import UsageError

    metrics: dict[str, Metric] = {}
    for text in texts:
        name, equals, metric = text.rpartition("=")
        if not equals or not name or metric not in get_args(Metric):
            raise UsageError(f"--metric takes OUTPUT=argmax or OUTPUT=relative, not '{text}'")
        metrics[name] = "argmax" if metric == "argmax" else "relative"
    return metrics


def read_shapes(texts: Sequence[str]) -> dict[str, tuple[int, ...]]:
    """Shapes by the input's name, from texts such as `x=1,3,224,224`.

    Raises:
        UsageError: for any other text.
    """
    from spikec.ir import UsageError

    shapes: dict[str, tuple[int, ...]] = {}
    for text in texts:
        name, _, sizes = text.rpartition("=")
        if not name or not all(size.strip().isdigit() for size in sizes.split(",")):
            raise UsageError(f"--shape {text}: write NAME=1,3,224,224")
        shapes[name] = tuple(int(size) for size in sizes.split(","))
    return shapes


def about_of(field: dataclasses.Field[Any]) -> About:
    """What is known of a field of `Options`."""
    about: About = field.metadata["about"]
    return about
