"""Random integer graphs on all engines, for some time.

    python tests/reliability/campaign.py --minutes 60 --seed 1 --engines fast,onnx/20,lava/100

onnx/20 takes every 20th graph. Writes into --out what was tried (campaign.json) and each case that
differs, made small, as files that tests/reliability/cases takes as they are. Exit status 1 where an
engine differs. Graphs are run in processes of their own, so that one that dies or hangs is found,
too.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
import warnings
from collections import Counter
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, field, replace
from multiprocessing import get_context
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
from cases import save
from engines import compare, engines_of
from graphs import INT_OPS, Case, Style, grow, style_of
from shrink import shrink

PORTION, SLOW_PORTION = 25, 5
"""Graphs that a process runs before it reports; fewer where Lava takes part."""
PATIENCE = 600.0
"""Seconds until a portion is taken to hang."""
MODEST = Style(wild=0.02, layered=0.9, ops=12, chip=True)
"""What Lava can hold."""


@dataclass(slots=True)
class Tally:
    """What a campaign tried and found."""

    graphs: int = 0
    runs: int = 0
    overflows: int = 0
    engines: Counter[str] = field(default_factory=Counter)
    """Graphs that each took."""
    ops: Counter[str] = field(default_factory=Counter)
    refusals: Counter[str] = field(default_factory=Counter)
    found: dict[str, str] = field(default_factory=dict)

    def add(self, other: Tally) -> None:
        """Count what another one counted."""
        self.graphs += other.graphs
        self.runs += other.runs
        self.overflows += other.overflows
        self.engines += other.engines
        self.ops += other.ops
        self.refusals += other.refusals
        self.found |= other.found


@dataclass(frozen=True, slots=True)
class Settings:
    """What a campaign runs.

    Attributes:
        engines: Their names; `name/n` takes every n-th graph.
        out: Where findings go.
        without: Ops that graphs do not hold.
    """

    engines: tuple[str, ...]
    out: Path
    without: tuple[str, ...] = ()

    @property
    def portion(self) -> int:
        """Graphs that a process runs before it reports."""
        return SLOW_PORTION if "lava" in self.engines else PORTION

    def engines_at(self, seed: int) -> tuple[str, ...]:
        """Engines that take the graph of a seed."""
        shares = (text.partition("/") for text in self.engines)
        return tuple(name for name, _, n in shares if seed % int(n or 1) == 0)

    def case(self, seed: int) -> Case:
        """The graph of a seed; one that Lava can hold where Lava takes part."""
        style = MODEST if "lava" in self.engines_at(seed) else style_of(seed)
        return grow(seed, replace(style, without=self.without))


def portion(seeds: range, settings: Settings) -> Tally:
    """Run some seeds."""
    tally = Tally()
    for seed in seeds:
        names = settings.engines_at(seed)
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            case = settings.case(seed)
            found = compare(case, engines_of(names), seed)
        tally.graphs += 1
        tally.engines.update(names)
        tally.runs += found.runs
        tally.overflows += bool(found.error)
        tally.ops.update(node.op for node in case.graph.nodes)
        for name, reason in found.refusals.items():
            tally.refusals[f"{name}: {_kind(reason)}"] += 1
        if found.differences:
            told = "; ".join(f"{name}: {text}" for name, text in found.differences.items())
            tally.found[str(seed)] = told
            keep(case, seed, set(found.differences), settings, told)
    return tally


def _kind(reason: str) -> str:
    """A refusal without names and numbers."""
    words = [word for word in reason.splitlines()[0].split() if not any(map(str.isdigit, word))]
    return " ".join(word for word in words if not word.startswith("%"))[:120]


def keep(case: Case, seed: int, who: set[str], settings: Settings, told: str) -> None:
    """Write a finding, as it is and small."""
    engines, out = engines_of(settings.engines_at(seed)), settings.out
    engines = {n: run for n, run in engines.items() if n in who} or engines_of(["fast"])
    save(case, out / f"seed{seed}_whole", told)
    small = shrink(case, lambda smaller: bool(compare(smaller, engines).differences))
    again = compare(small, engines).differences
    save(small, out / f"seed{seed}", "; ".join(f"{n}: {text}" for n, text in again.items()))


def campaign(seed: int, minutes: float, most: int, jobs: int, settings: Settings) -> Tally:
    """Run portions until the time is over or there are `most` graphs."""
    tally, end, at = Tally(), time.monotonic() + 60 * minutes, seed * 10**9
    last = at + most
    while at < last and time.monotonic() < end:
        with ProcessPoolExecutor(jobs, get_context("spawn")) as pool:
            while at < last and time.monotonic() < end:
                stop = min(at + jobs * settings.portion, last)
                starts = range(at, stop, settings.portion)
                portions = [range(k, min(k + settings.portion, stop)) for k in starts]
                at = stop
                futures = [pool.submit(portion, seeds, settings) for seeds in portions]
                broken = []
                for seeds, future in zip(portions, futures, strict=True):
                    try:
                        tally.add(future.result(timeout=PATIENCE))
                    except (BrokenProcessPool, TimeoutError):
                        broken.append(seeds)
                if broken:
                    _end(pool)
                    break
                _say(tally)
        if broken:
            for seeds in broken:
                for lost in seeds:
                    tally.add(_alone(lost, settings))
    return tally


def _alone(seed: int, settings: Settings) -> Tally:
    """One seed in a process of its own, which may die."""
    with ProcessPoolExecutor(1, get_context("spawn")) as pool:
        try:
            return pool.submit(portion, range(seed, seed + 1), settings).result(PATIENCE)
        except (BrokenProcessPool, TimeoutError) as error:
            told = f"the process died or hung ({type(error).__name__})"
            save(settings.case(seed), settings.out / f"seed{seed}_whole", told)
            _end(pool)
            return Tally(graphs=1, found={str(seed): told})


def _end(pool: ProcessPoolExecutor) -> None:
    """Kill processes that hang."""
    for process in (getattr(pool, "_processes", None) or {}).values():
        process.kill()


def _say(tally: Tally) -> None:
    text = f"\r{tally.graphs} graphs, {tally.runs} runs, {len(tally.found)} differ "
    print(text, end="", file=sys.stderr, flush=True)


def main() -> int:
    """Run; returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--minutes", type=float, default=10.0, help="time budget")
    parser.add_argument("--graphs", type=int, default=10**8, help="stop after so many")
    parser.add_argument("--seed", type=int, default=0, help="another one, other graphs")
    parser.add_argument("--engines", default="fast", help="of fast, onnx/20, lava/100, ...")
    parser.add_argument("--without", default="", help="ops that graphs do not hold")
    parser.add_argument("--jobs", type=int, default=1, help="processes")
    parser.add_argument("--out", type=Path, default=Path("found"), help="where findings go")
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    os.environ.setdefault("NUMBA_NUM_THREADS", "1")  # of the processes: the graphs are small
    names, without = (tuple(filter(None, text.split(","))) for text in
                      (options.engines, options.without))  # fmt: skip
    settings, started = Settings(names, options.out, without), time.monotonic()
    tally = campaign(options.seed, options.minutes, options.graphs, options.jobs, settings)
    summary = {
        "seed": options.seed, "engines": dict(tally.engines),
        "minutes": (time.monotonic() - started) / 60,
        "graphs": tally.graphs, "runs": tally.runs, "overflows": tally.overflows,
        "ops": dict(sorted(tally.ops.items())), "without": sorted(INT_OPS.keys() - tally.ops),
        "refused": dict(tally.refusals.most_common()), "found": tally.found,
    }  # fmt: skip
    (options.out / "campaign.json").write_text(json.dumps(summary, indent=2) + "\n")
    print("\n" + json.dumps(summary, indent=2))
    return 1 if tally.found else 0


if __name__ == "__main__":
    sys.exit(main())
