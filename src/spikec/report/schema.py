"""What is known of a compiled network: what report.json holds, what the page shows."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any, TypedDict, TypeVar

from msgspec import Meta

from spikec.backends.backend import MappedPart
from spikec.ir.reading import conform

Json = dict[str, Any]
T = TypeVar("T")
Count = Annotated[int, Meta(ge=0, le=2**62)]
Share = Annotated[float, Meta(ge=0, le=1)]
Steps = Annotated[int, Meta(ge=1, le=2**22)]
Spike = Annotated[int, Meta(ge=-(2**31), lt=2**31)]
"""A spike; graded ones are beyond -1 and 1."""
Number = Annotated[float, Meta(ge=-1e100, le=1e100)]
"""What pictures can be drawn of."""
Conditions = dict[str, str | int | list[str] | None]
"""Data, samples, engines and stage: what tells one measurement from another."""


class Limit(TypedDict):
    """A figure of the hardware."""

    figure: str
    value: Count | None
    status: str
    source: str


class Problem(TypedDict):
    """Why a network does not fit; `layer` where it is one layer's fault."""

    layer: str | None
    limit: str
    need: Count
    have: Count
    hint: str | None
    text: str


class PlacedLayer(TypedDict):
    """Where a layer is."""

    name: str
    neurons: Count
    synapses: Count
    fan_in: Count
    axons: Count
    delay: Count
    weight_bits: Count
    memory: Count
    memory_without_sharing: Count
    cores: Count
    cores_without_sharing: Count
    first_core: Count
    bound_by: str


class CoreLoad(TypedDict):
    """What a core holds; neurons by layer."""

    core: Count
    neurons: Count
    memory: Count
    layers: dict[str, Count]


class Placement(TypedDict):
    """Where layers are on the chip, as the pass `place` says it."""

    hardware: str
    figures: list[Limit]
    sharing: bool
    fits: bool
    problems: list[Problem]
    cores: Count
    cores_with_sharing: Count
    cores_without_sharing: Count
    memory: Count
    memory_without_sharing: Count
    layers: list[PlacedLayer]
    core_loads: list[CoreLoad]


@dataclass(frozen=True, slots=True)
class Judged:
    """What a network is worth on samples that it was not calibrated on.

    Attributes:
        samples: How many.
        accuracy: Share of right answers, where there are labels.
        agreement: Share of classes that the ANN gives, too; None where no output has classes.
        loss: The ANN's accuracy minus this one; without labels the share that does not agree, and
            of outputs that are numbers their error over their standard deviation, at most 1.
        standard_error: Of the loss.
        bound: The loss and one standard error, which is not 0 even where nothing is lost.
        timesteps: T, where several were tried.
    """

    samples: Count
    accuracy: Share | None
    agreement: Share | None
    loss: Number
    standard_error: Number
    bound: Number
    timesteps: Steps | None = None


@dataclass(frozen=True, slots=True)
class LayerLoss:
    """What one layer loses.

    Attributes:
        layer: Its name.
        error: Squared error of its rates, relative to the ANN's activation.
        rounding: The part of it that rounding to integers adds.
    """

    layer: str
    error: Number
    rounding: Number


@dataclass(frozen=True, slots=True)
class OutputLoss:
    """How far an output is from the ANN's, root mean square over the ANN's standard deviation.

    Attributes:
        output: Its ONNX name.
        float_error: Of the float network.
        int_error: Of the integers.
        rounded_error: Of the ANN itself with its weights rounded to as many bits, a step for each
            output channel; measured where the integers are far off.
    """

    output: str
    float_error: Number
    int_error: Number
    rounded_error: Number | None = None


@dataclass(frozen=True, slots=True)
class Loss:
    """The loss budget: ANN, float network and integers on samples that were not calibrated on.

    Attributes:
        samples: How many.
        held_out: False where there were too few, and calibration samples were taken.
        agreement: Share of classes that the ANN gives, too, of `float` and `int`; None where no
            output has classes.
        standard_error: Of the loss of `int`.
        relative_error: Norm of the difference of all outputs over that of the ANN's.
        outputs: Each output's error.
        worst_layers: The layers that are furthest from the ANN.
        most_rounded: The layer at which rounding adds most; None where layers were not compared.
        advice: What would help, in sentences; nothing where little is lost.
    """

    samples: Count
    held_out: bool
    agreement: dict[str, Share | None]
    standard_error: Number
    relative_error: dict[str, Number]
    worst_layers: list[LayerLoss]
    advice: list[str]
    outputs: list[OutputLoss] = field(default_factory=list)
    most_rounded: str | None = None

    def __post_init__(self) -> None:
        if not {"float", "int"} <= self.agreement.keys() & self.relative_error.keys():
            raise ValueError("figures of float and int are needed")


@dataclass(frozen=True, slots=True)
class PassEntry:
    """What one pass did.

    Attributes:
        name: The pass.
        options: Its options.
        notes: What it changed, in sentences.
        layers: Per layer, named figures.
        judged: The network after it, where there were validation data.
    """

    name: str
    options: Json
    notes: list[str]
    layers: dict[str, Json]
    judged: Judged | None = None

    def mean_errors(self) -> tuple[float, float] | None:
        """Calibration error before and after the pass, mean over layers; None if it has none."""
        pairs = [(v.get("error_before"), v.get("error_after")) for v in self.layers.values()]
        before, after = (
            (
                [error for error in errors if isinstance(error, int | float)]
                for errors in zip(*pairs, strict=True)
            )
            if pairs
            else ([], [])
        )
        if not after or len(before) != len(after):
            return None
        return sum(before) / len(before), sum(after) / len(after)


@dataclass(frozen=True, slots=True)
class Range:
    """Worst-case bounds of a layer's integers, as the pass `range` proves them.

    Attributes:
        current: Lowest and highest current of a step.
        potential: Lowest and highest potential.
        bits: Signed bits that all of it needs.
        state_bits: Bits that the target has.
        margin_bits: Bits to spare.
        checked: What calibration samples reach where there is no proof.
        proven: Whether no input at all can leave the range.
    """

    current: list[int] | None
    potential: list[int] | None
    bits: Count | None
    state_bits: Count
    margin_bits: int | None
    checked: Json | None
    proven: bool


@dataclass(frozen=True, slots=True)
class LayerEntry:
    """One layer with neurons: what it is and how its calibration error moved.

    Attributes:
        name: The layer.
        op: Its neuron.
        onnx_node: Where it came from.
        shape: Without the batch axis.
        neurons: How many.
        error_before: Squared error of its rates, relative to the ANN's activation.
        error_after: The same after each pass that calibrates.
        range: Its integers.
    """

    name: str
    op: str
    onnx_node: str | None
    shape: list[Count]
    neurons: Count
    error_before: Number | None
    error_after: dict[str, Number]
    range: Range | None = None

    @property
    def last_error(self) -> float | None:
        """The calibration error that is left."""
        return next(reversed(self.error_after.values()), self.error_before)


@dataclass(frozen=True, slots=True)
class ProfiledLayer:
    """What a layer does on a few calibration samples; see `spikec.driver.profile`."""

    name: str
    rate_histogram: list[Count]
    rate_range: tuple[Number, Number]
    theta: list[Number]
    v0_over_theta: list[Number]
    raster: list[list[Spike]]
    activation: list[Number] | None = None
    rate: list[Number] | None = None

    def __post_init__(self) -> None:
        if len({len(row) for row in self.raster}) != 1 or not self.raster[0]:
            raise ValueError(f"layer {self.name}: its raster has no equal rows")
        if len(self.activation or ()) != len(self.rate or ()):
            raise ValueError(f"layer {self.name}: as many activations as rates are needed")
        if not self.theta or not self.rate_histogram:
            raise ValueError(f"layer {self.name}: thresholds and rates are needed")


@dataclass(frozen=True, slots=True)
class Profile:
    """What the network does on a few calibration samples.

    Attributes:
        samples: How many.
        layers: Rates, thresholds and spikes of each layer.
        edges: Which layer feeds which.
        operations: Synaptic operations of each synapse.
    """

    samples: Count
    layers: list[ProfiledLayer]
    edges: list[tuple[str, str]]
    operations: dict[str, Json]

    def __post_init__(self) -> None:
        if len({len(layer.rate_histogram) for layer in self.layers}) > 1:
            raise ValueError("all layers need histograms of as many rates")


@dataclass(frozen=True, slots=True)
class OutputResult:
    """One output against the ANN's.

    Attributes:
        name: Its ONNX name.
        metric: `argmax` where its classes are compared, `relative` where its numbers are.
        agreement: Share of classes that are the ANN's; None of numbers.
        relative_error: Root mean square of the difference over the ANN's standard deviation.
        max_error: The largest difference.
        correlation: With the ANN's; None where nothing varies.
    """

    name: str
    metric: str
    agreement: Share | None
    relative_error: Number
    max_error: Number
    correlation: Number | None


@dataclass(frozen=True, slots=True)
class StepResult:
    """What a network is worth after some number of steps; see `spikec eval --json`.

    Attributes:
        timesteps: T.
        accuracy: Share of right answers, where there are labels.
        agreement: Share of classes that the ANN gives, too, where it ran.
        spikes: Per sample.
        spikes_per_neuron_step: Their rate.
        activation_sparsity: 1 minus the rate.
        payload_bits: Bits of payload per sample.
        effective_acs: Accumulates per sample: spike and weight not zero.
        effective_macs: Multiply-accumulates per sample, of graded input.
        dense: Operations per sample if nothing were zero.
        seconds_per_sample: Of this engine.
        error: Why there are no figures.
        outputs: Each output against the ANN's, where it ran.
    """

    timesteps: Steps
    accuracy: Share | None = None
    agreement: Share | None = None
    spikes: Number | None = None
    spikes_per_neuron_step: Number | None = None
    activation_sparsity: Number | None = None
    payload_bits: Number | None = None
    effective_acs: Number | None = None
    effective_macs: Number | None = None
    dense: Number | None = None
    seconds_per_sample: Number | None = None
    error: str | None = None
    outputs: list[OutputResult] = field(default_factory=list)

    @property
    def operations(self) -> float:
        """Effective synaptic operations per sample, of both kinds."""
        return (self.effective_acs or 0) + (self.effective_macs or 0)


@dataclass(frozen=True, slots=True)
class Evaluation:
    """What `spikec eval` measured.

    Attributes:
        samples: How many.
        ann_accuracy: Of the ANN, where it ran and there are labels.
        results: One for each number of steps.
        layers: Spikes of each layer.
        clipped_inputs: Share of inputs outside the calibrated range.
        compiled_for: T of the artifact.
        notes: What else to know.
        of: Data, samples, engine and stage: what tells one measurement from another.
    """

    samples: Count
    ann_accuracy: Share | None
    results: list[StepResult]
    layers: list[Json]
    clipped_inputs: Number
    compiled_for: int
    notes: list[str] = field(default_factory=list)
    of: Conditions = field(default_factory=dict)

    @property
    def measured(self) -> list[StepResult]:
        """The results with figures."""
        return [result for result in self.results if result.error is None]


@dataclass(frozen=True, slots=True)
class ComparedLayer:
    """How many values of a layer were compared, and how many differ.

    Attributes:
        name: The layer.
        spikes_compared: Spikes of all samples and steps.
        spikes_differing: Those that are not the same in all engines.
        potentials_compared: Potentials of all samples and steps.
        potentials_differing: Those that are not the same in all engines.
    """

    name: str
    spikes_compared: Count
    spikes_differing: Count
    potentials_compared: Count
    potentials_differing: Count


@dataclass(frozen=True, slots=True)
class Check:
    """What `spikec check` compared.

    Attributes:
        engines: Their names.
        samples: How many.
        timesteps: T.
        layers: What was compared.
        equal: Whether nothing differs.
        first_difference: Layer, neuron, step, sample and values of the first.
        of: What tells one check from another.
    """

    engines: list[str]
    samples: Count
    timesteps: Steps
    layers: list[ComparedLayer]
    equal: bool
    first_difference: Json | None
    of: Conditions = field(default_factory=dict)


@dataclass(slots=True)
class Report:
    """What the compiler did and what was measured since.

    Attributes:
        model: File name of the ONNX model.
        timesteps: T.
        operators: How often each ONNX operator occurs.
        passes: In order.
        layers: With neurons, in order.
        placement: Where layers are on the chip, as the pass `place` says it.
        mapping: How the target maps the network; of one that is no chip's, how Lava would.
        samples: Calibration samples.
        profile: What it does on some of them; None for very large networks.
        loss: How far it is from the ANN; None without calibration data.
        notes: What was left out or changed.
        warnings: What to know before trusting the result.
        steps_tried: With max_loss, the numbers of steps.
        provenance: The manifest (versions, options, hashes), and the command that makes the same.
        evaluations: By `eval`, later.
        checks: By `check`, later.
    """

    model: str | None = None
    timesteps: Annotated[int, Meta(ge=0, le=2**22)] = 0
    operators: dict[str, Count] = field(default_factory=dict)
    passes: list[PassEntry] = field(default_factory=list)
    layers: list[LayerEntry] = field(default_factory=list)
    placement: Placement | None = None
    mapping: list[MappedPart] = field(default_factory=list)
    samples: Count = 0
    profile: Profile | None = None
    loss: Loss | None = None
    notes: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    steps_tried: list[Judged] = field(default_factory=list)
    provenance: Json = field(default_factory=dict)
    evaluations: list[Evaluation] = field(default_factory=list)
    checks: list[Check] = field(default_factory=list)

    def to_json(self) -> Json:
        """What report.json holds."""
        return dataclasses.asdict(self)

    def add(self, measured: Evaluation | Check) -> None:
        """Add a measurement; one `of` the same takes its place."""
        if isinstance(measured, Evaluation):
            self.evaluations = [e for e in self.evaluations if e.of != measured.of] + [measured]
        else:
            self.checks = [c for c in self.checks if c.of != measured.of] + [measured]

    def evaluated(self) -> tuple[Evaluation, StepResult] | None:
        """The evaluation of the integer network with most samples, and its result at T."""
        return max(self._evaluated(), key=lambda pair: pair[0].samples, default=None)

    def _evaluated(self) -> Iterator[tuple[Evaluation, StepResult]]:
        for evaluation in self.evaluations:
            for result in evaluation.measured:
                if evaluation.of.get("stage") == "int" and result.timesteps == self.timesteps:
                    yield evaluation, result


def read_placement(summary: Mapping[str, Any]) -> Placement:
    """The placement that the pass `place` found."""
    return conform(summary, Placement, "placement")


def from_json(kind: type[T], value: Mapping[str, Any]) -> T:
    """A dataclass, with what it holds, out of JSON; keys that it does not know are left out.

    Raises:
        InvalidArtifact: naming the field that is not as it is declared here.
    """
    return conform(value, kind, "report.json")
