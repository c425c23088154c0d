"""How many steps each stage computes at a time: all of them, or one in each call."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace

from spikec.backends.lowering.records import Layer, Plan, Reshape, Stage, Value, gathers


def late_stages(plan: Plan) -> frozenset[str]:
    """Results that depend on neurons that fire only after all their input."""
    late: set[str] = set()
    fired: set[str] = set()
    for stage in plan.stages:
        name = stage.result.name
        if any(source.name in late or source.name in fired for source in stage.sources):
            late.add(name)
        if isinstance(stage, Layer) and gathers(stage.rule):
            fired.add(name)
    return frozenset(late)


def ordered(plan: Plan) -> Plan:
    """The plan with its late stages behind all others."""
    late = late_stages(plan)
    return replace(plan, stages=tuple(sorted(plan.stages, key=lambda s: s.result.name in late)))


@dataclass(slots=True)
class Schedule:
    """Steps of stages and values, as the stage that is being printed sees them.

    Attributes:
        plan: Its stages ordered by `ordered`.
        stepwise: Whether each call takes one step, and late stages follow in the last call.
        late: Results of late stages.
        recorded: Values that hold all steps although they are made step by step.
        stepping: Whether the stage that is being printed computes one step of several.
    """

    plan: Plan
    stepwise: bool
    late: frozenset[str] = frozenset()
    recorded: frozenset[str] = frozenset()
    stepping: bool = field(default=False, init=False)

    @staticmethod
    def whole(plan: Plan) -> Schedule:
        """All steps of each stage before the next one starts."""
        return Schedule(plan, stepwise=False)

    @staticmethod
    def by_steps(plan: Plan) -> Schedule:
        """One step in each call."""
        late = late_stages(plan)
        recorded = {
            stage.result.name
            for stage in plan.stages
            if isinstance(stage, Layer) and gathers(stage.rule)
        }
        for stage in reversed(plan.stages):
            name = stage.result.name
            if name in late or (isinstance(stage, Reshape) and name in recorded):
                recorded |= {source.name for source in stage.sources}
        for stage in plan.stages:
            if isinstance(stage, Reshape) and stage.source.name in recorded:
                recorded.add(stage.result.name)
        inputs = {value.name for value in plan.inputs}
        return Schedule(plan, True, late, frozenset(recorded - late - inputs))

    def held(self, value: Value) -> int:
        """Steps that a value holds, if it changes with them."""
        every = not self.stepwise or value.name in self.late or value.name in self.recorded
        return self.plan.steps if every else 1

    @contextmanager
    def printing(self, stage: Stage) -> Iterator[None]:
        """Print a stage as often as it runs."""
        self.stepping = self.stepwise and stage.result.name not in self.late
        yield
        self.stepping = False

    @contextmanager
    def all_steps(self) -> Iterator[None]:
        """Print what computes all steps in a stage that otherwise takes one."""
        before, self.stepping = self.stepping, False
        yield
        self.stepping = before

    @property
    def steps(self) -> int:
        """Steps that are computed at a time."""
        return 1 if self.stepping else self.plan.steps

    @property
    def step(self) -> str:
        """The loop variable of these steps, or 0 where there is one."""
        return "t" if self.steps > 1 else "0"

    def slot(self, held: int) -> str:
        """Where the step lies in a value that holds `held` steps."""
        if held == 1:
            return "0"
        return "step" if self.stepping else "t"
