"""From a plan to a design: engines, how they are folded, and what joins them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from spikec.backends.lowering.records import Layer, Plan, Pool, Reshape, Route, Value
from spikec.backends.verilog.engines import (
    Engine,
    Fold,
    LayerEngine,
    fitting_folds,
    layer_engine,
    pool_engine,
)
from spikec.backends.verilog.reorders import moves_nothing, reorder_engine
from spikec.backends.verilog.schedule import Timing, find_held, timing
from spikec.backends.verilog.streams import Stream, stream_of
from spikec.backends.verilog.writer import Names
from spikec.ir import BackendError

MOST_PRODUCTS = 4096
"""Products of a cycle and step that an engine may have."""


@dataclass(frozen=True, slots=True)
class Design:
    """A network as hardware.

    Attributes:
        plan: What it computes.
        engines: What computes the stages, in order.
        aliases: Values whose stream is another value's, by name.
        names: Identifiers of values.
        timing: Cycles of a sample.
    """

    plan: Plan
    engines: tuple[Engine, ...]
    aliases: Mapping[str, str]
    names: Mapping[str, str]
    timing: Timing

    def stream(self, value: Value) -> Stream:
        """The stream of a value."""
        return stream_of(value, self.plan.steps)

    def origin(self, name: str) -> str:
        """The value whose stream is a value's."""
        return _origin(name, self.aliases)


def design_of(plan: Plan, cycles: int) -> Design:
    """The design of a network whose engines take so many cycles for a sample, or fewer.

    Raises:
        BackendError: naming the layer that hardware cannot hold, or that cannot be so fast.
    """
    engines: list[Engine] = []
    aliases: dict[str, str] = {}
    for stage in plan.stages:
        match stage:
            case Layer():
                engines.append(_folded(stage, plan.steps, cycles))
            case Pool():
                engines.append(pool_engine(stage, plan.steps))
            case Route() | Reshape():
                if moves_nothing(stage):
                    aliases[stage.result.name] = stage.sources[0].name
                else:
                    engines.append(reorder_engine(stage, plan.steps))
        if stage.result.name not in aliases:
            _check_cycles(engines[-1], cycles)
    _follow(engines, aliases)
    find_held(plan.inputs, engines)
    values = [*plan.inputs, *(stage.result for stage in plan.stages)]
    names = Names()
    return Design(
        plan,
        tuple(engines),
        aliases,
        {value.name: names.make(value.name) for value in values},
        timing(plan.inputs, engines, [_origin(name, aliases) for name in plan.outputs]),
    )


def _follow(engines: list[Engine], aliases: Mapping[str, str]) -> None:
    """Have edges name the value whose stream they really read."""
    for engine in engines:
        for edge in engine.edges:
            edge.source = replace(edge.source, name=_origin(edge.source.name, aliases))


def _origin(name: str, aliases: Mapping[str, str]) -> str:
    while name in aliases:
        name = aliases[name]
    return name


def _folded(stage: Layer, steps: int, cycles: int) -> LayerEngine:
    """The cheapest fold in which a layer is fast enough; else the fastest."""
    best: tuple[float, float] | None = None
    chosen: LayerEngine | None = None
    for plain in fitting_folds(stage):
        if plain.products > MOST_PRODUCTS:
            continue
        engine = layer_engine(stage, plain, steps)
        engine = _with_units(engine)
        total = engine.pixel_cycles * stage.result.positions
        rank = (max(total, cycles), _cost(engine))
        if best is None or rank < best:
            best, chosen = rank, engine
    if chosen is None:
        raise BackendError(f"%{stage.result.name} fits no fold", loc=stage.loc)
    return chosen


def _with_units(engine: LayerEngine) -> LayerEngine:
    """Enough units that neurons do not wait for the scan longer than for the sums."""
    fold = engine.fold
    others = max(engine.beats, fold.outputs)
    units = next(
        n
        for n in range(1, fold.outputs + 1)
        if fold.outputs % n == 0
        and (engine.scan * fold.outputs // n <= others or n >= engine.scan or n == fold.outputs)
    )
    return LayerEngine(
        engine.stage,
        Fold(fold.outputs, fold.inputs, units, fold.diagonal),
        engine.windows,
        engine.inputs,
        engine.sent,
        engine.out,
        engine.steps,
    )


def _cost(engine: LayerEngine) -> float:
    """Bits of adders and registers, about."""
    fold, bits = engine.fold, engine.stage.sum.bits
    steps = engine.sent.steps
    sums = fold.outputs * steps * 4 * bits
    products = fold.products * steps * min(bits, engine.weight_bits + 2) * engine.sent.bits
    return sums + products + 60 * fold.units


def _check_cycles(engine: Engine, cycles: int) -> None:
    stage = engine.stage
    need = engine.pixel_cycles * stage.result.positions
    if need > cycles:
        raise BackendError(
            f"%{stage.result.name} takes {need} cycles for a sample, the budget is {cycles}",
            loc=stage.loc,
            hint=f"cycles={need}",
        )
