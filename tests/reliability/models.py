"""Random ONNX models, valid and damaged: compiled right, or refused by one error."""

from __future__ import annotations

import random
import sys
import time
import warnings
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))
sys.path.insert(0, str(Path(__file__).parents[1]))
sys.path.insert(0, str(Path(__file__).parents[1] / "onnx"))
import numpy as np
import onnx
import onnxruntime
from test_compositions import Composer
from test_fuzz import MUTATIONS, SEEDS, check
from within import TookTooLong, told_of, within

import spikec
from spikec.driver.model import Model
from spikec.ir import SpikecError

onnxruntime.set_default_logger_severity(4)
COMPOSED = 40
"""Random networks that are damaged beside those of other tools."""
LARGEST = 20_000
"""Elements of the inputs that a damaged model may ask for to be compiled."""
SLOW = 60.0
"""Seconds after which a small model is taken to hang."""
CHOICES: dict[str, tuple[Any, ...]] = {
    "timesteps": (1, 2, 3, 5, 8), "threshold": ("per-layer", "per-channel", "per-neuron"),
    "weight_bits": (2, 4, 8), "schedule": ("synchronous", "layerwise", "mixed"),
    "samples": (1, 3, 8),
    "spikes": ("binary", "graded"), "payload": ("power2", "integer"), "code": ("rate", "radix"),
    "dni": ("on", "half", "off"), "snm": ("auto", "on", "off"), "reconstruct": ("on", "off"),
}  # fmt: skip


@dataclass(slots=True)
class Tally:
    """What became of models, and what should not have been, by seed."""

    outcomes: Counter[str] = field(default_factory=Counter)
    found: dict[str, str] = field(default_factory=dict)


def options_of(draw: random.Random) -> dict[str, Any]:
    """Some options, each now and then."""
    return {name: draw.choice(values) for name, values in CHOICES.items() if draw.random() < 0.3}


def compiled(model: onnx.ModelProto, seed: int) -> str:
    """Compile a model by random options, and compare engines.

    Raises:
        AssertionError: where two engines differ.
    """
    options = options_of(random.Random(seed))
    try:
        ann = Model.load(model)
        inputs = ann.imported.require().inputs
        if sum(node.type.size for node in inputs) > LARGEST:
            return "too large"
        rng = np.random.default_rng(seed)
        x = {node.loc: rng.random((8, *node.type.shape), np.float32) for node in inputs}
        made = spikec.compile(ann, x, progress=False, allow_rounding_loss=True, **options)
        few = {name: values[:2] for name, values in x.items()}
        equal = made.check(few, engines=["reference", "fast"])["equal"]
    except SpikecError:
        return "refused"
    assert equal, f"engines differ ({options})"
    return "compiled"


def damaged(seed: int) -> str:
    """Damage a model; import it, compare it with onnxruntime and compile it."""
    draw = random.Random(seed)
    composed = draw.random() < 0.3
    blob = Composer(draw.randrange(COMPOSED)).model().SerializeToString() if composed else (
        draw.choice(SEEDS)
    )  # fmt: skip
    for _ in range(draw.choice((1, 1, 2, 3))):
        blob = draw.choice(MUTATIONS)(draw, blob) if len(blob) > 8 else blob
    outcome = check(blob, seed)
    if outcome in ("refused", "large"):
        return outcome
    return f"imported, {compiled(onnx.load_model_from_string(blob), seed)}"


def valid(seed: int) -> str:
    """A random network of all kinds of operators."""
    return compiled(Composer(seed).model(), seed)


def campaign(seeds: range, tally: Tally, end: float, *, share_valid: float = 0.2) -> None:
    """Try models until the time is over."""
    for seed in seeds:
        if time.monotonic() > end:
            return
        make = valid if random.Random(f"kind {seed}").random() < share_valid else damaged
        try:
            with warnings.catch_warnings(), within(SLOW):
                warnings.simplefilter("ignore")
                outcome = make(seed)
        except (Exception, TookTooLong) as error:
            tally.found[f"{make.__name__} model {seed}"] = told_of(error)
        else:
            tally.outcomes[f"{make.__name__}: {outcome}"] += 1
