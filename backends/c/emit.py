"""From a plan to the files of a C project."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.resources import files

from spikec.backends.c import figures
from spikec.backends.c.dpi import print_package, print_wrapper
from spikec.backends.c.functions import called, checked, parameters
from spikec.backends.c.header import parameter_list, print_header
from spikec.backends.c.layout import BYTE, SpikeLayout
from spikec.backends.c.memory import Memory, plan_memory
from spikec.backends.c.network import LONGEST, Constant, Network
from spikec.backends.c.program import print_program
from spikec.backends.c.schedule import Schedule, ordered
from spikec.backends.c.stages import print_stage
from spikec.backends.c.tables import print_declarations, print_weights
from spikec.backends.c.writer import Code, Names
from spikec.backends.lowering import Plan
from spikec.backends.lowering.records import Spikes

_TRACE = """\
#if defined(NETWORK_TRACE)
/* Tables of where to copy potentials and spikes of each stage; NULL for nowhere. */
int64_t *network_potentials[NETWORK_STAGES + 1];
uint8_t *network_spikes[NETWORK_STAGES + 1];
#define NETWORK_POTENTIALS(stage, at, from, count) \\
    do { \\
        if (network_potentials[stage]) \\
            for (int i_ = 0; i_ < (count); ++i_) \\
                network_potentials[stage][(at) + i_] = (from)[i_]; \\
    } while (0)
#define NETWORK_SPIKES(stage, from, rows, planes, used, steps, bytes, bits) \\
    do { \\
        if (network_spikes[stage]) \\
            memcpy(network_spikes[stage], from, (size_t)(rows) * (planes) * (steps) * (bytes)); \\
    } while (0)
#elif defined(NETWORK_HASH)
/* CRC-32 of all spikes, stage by stage, as they lie in memory; set it to 0 before a sample. */
uint32_t network_hash;
#define NETWORK_POTENTIALS(stage, at, from, count) ((void)0)
#define NETWORK_SPIKES(stage, from, rows, planes, used, steps, bytes, bits) \\
    network_hash = network_hash_of(network_hash, from, rows, planes, used, steps, bytes, bits)
#else
#define NETWORK_POTENTIALS(stage, at, from, count) ((void)0)
#define NETWORK_SPIKES(stage, from, rows, planes, used, steps, bytes, bits) ((void)0)
#endif"""
_RESERVED = re.findall(
    r"\w+",
    """pz py px x0 at t o p q i c g v u w net sum sums base part row rows bits left words start from
    to ahead seen first block step payload payloads overflow best change before inputs outputs files
    codes integers steps given result number network layers""",
) + [
    f"{name}{n}"
    for name in ("p", "i", "k", "part", "row", "left", "fires", "fired")
    for n in range(LONGEST)
]
"""Identifiers that the printed code uses itself."""


FIXED = (
    "network_bits.h",
    "Makefile",
    "CMakeLists.txt",
    "boards/start.c",
    "boards/mps2.ld",
    "boards/blink.c",
    "boards/wasm.mjs",
)
"""Files that are the same for all networks."""


@dataclass(frozen=True, slots=True)
class Project:
    """A C project.

    Attributes:
        plan: What it computes, its stages in the order of their numbers.
        memory: Where values lie in the call per sample.
        files: Texts by file name.
    """

    plan: Plan
    memory: Memory
    files: dict[str, str]


def build(plan: Plan, lanes: int, packed: bool = True) -> Project:
    """The files of a network."""
    plan = ordered(plan)
    constants: dict[str, Constant] = {}
    names = Names(*_RESERVED)
    whole, stepwise = (
        Network(plan, schedule, plan_memory(schedule), names, lanes, packed, constants)
        for schedule in (Schedule.whole(plan), Schedule.by_steps(plan))
    )
    texts = {
        "network.c": _whole(whole),
        "network_step.c": _stepwise(stepwise),
        "network.h": print_header(whole),
        "weights.c": print_weights(constants),
        "weights.h": print_declarations(constants),
        "main.c": print_program(template("main.c.tmpl"), whole),
        "dpi/network_dpi.c": print_wrapper(whole),
        "dpi/network_dpi.sv": print_package(whole),
        "README.md": figures.readme(template("README.md.tmpl"), whole, stepwise),
    }
    texts |= {name: template(name) for name in FIXED}
    return Project(plan, whole.memory, texts)


def template(name: str) -> str:
    """A file of the project folder."""
    return (files("spikec.backends.c") / "project" / name).read_text(encoding="utf-8")


# The two interfaces


def _whole(network: Network) -> str:
    """network.c: a call for each sample."""
    code, body = Code(), _functions(network)
    _begin(code, network, f"#define NETWORK_STAGES {len(network.plan.stages)}", *_TRACE.split("\n"))
    _arenas(code, network)
    code.line()
    code.lines(body)
    with code.block(f"int network_run({parameter_list(network)})"):
        _unread(code, network)
        for call in _calls(network, frozenset()):
            code.line(call)
        code.line("return 0;")
    return code.text()


def _stepwise(network: Network) -> str:
    """network_step.c: a call for each step."""
    code, body, schedule = Code(), _functions(network), network.schedule
    _begin(code, network)
    _arenas(code, network)
    code.line()
    if network.states:
        code.comment("What is kept from step to step.")
    for name, (type_, count) in network.states.items():
        code.line(f"static {type_} {name}[{count}];")
    code.line("static int step = 0;")
    code.line()
    code.lines(body)
    with code.block("void network_start(void)"):
        code.line("step = 0;")
    code.line()
    with code.block(f"int network_step({parameter_list(network)})"):
        _unread(code, network)
        code.line(f"if (step >= {network.plan.steps}) return -1;")
        for call in _calls(network, schedule.late):
            code.line(call)
        if schedule.late:
            with code.block(f"if (step == {network.plan.steps - 1})"):
                every = frozenset(stage.result.name for stage in network.plan.stages)
                for call in _calls(network, every - schedule.late):
                    code.line(call)
        code.line("++step;")
        code.line("return 0;")
    return code.text()


def _functions(network: Network) -> str:
    body = Code()
    for stage in network.plan.stages:
        if called(network, stage):
            print_stage(body, network, stage)
            body.line()
    return body.text()


def _begin(code: Code, network: Network, *lines: str) -> None:
    plan = network.plan
    code.comment(
        f"{plan.name}: an integer spiking network of {plan.steps} steps. Written by spikec.",
        "Numbers in comments are proven ranges.",
    )
    code.line('#include "network.h"')
    code.line()
    code.line('#include "network_bits.h"')
    code.line('#include "weights.h"')
    code.line()
    for line in lines:
        code.line(line)
    if lines:
        code.line()


def _arenas(code: Code, network: Network) -> None:
    """The shared arrays and where each value lies in them."""
    memory = network.memory
    code.comment(
        f"Memory that all stages share, {memory.bytes} bytes: value, its bytes, first and last "
        "stage.",
        *figures.memory_lines(network),
    )
    for type_, count in memory.arenas.items():
        code.line(f"static {type_} {_arena(type_)}[{count}];")
    for name, offset in memory.offsets.items():
        layout = memory.layouts[name]
        type_ = BYTE if isinstance(layout, SpikeLayout) else layout.type
        place = f"{_arena(type_)} + {offset}" if offset else _arena(type_)
        code.line(f"static {type_} *const {network.place(name)} = {place};")


def _unread(code: Code, network: Network) -> None:
    """Say of inputs that no stage reads that this is no oversight."""
    stages = [stage for stage in network.plan.stages if called(network, stage)]
    read = {name for stage in stages for _, name in parameters(network, stage)}
    for value in network.plan.inputs:
        if network.names[value.name] not in read:
            code.line(f"(void){network.names[value.name]};")


def _arena(type_: object) -> str:
    return f"network_{str(type_).removesuffix('_t')}"


def _calls(network: Network, left_out: frozenset[str]) -> Iterator[str]:
    for stage in network.plan.stages:
        name, number = stage.result.name, network.number(stage)
        if name in left_out or not called(network, stage):
            continue
        given = ", ".join(parameter for _, parameter in parameters(network, stage))
        call = f"layer_{network.names[name]}({given})"
        yield f"if ({call}) return {number};" if checked(stage) else f"{call};"
        layout = network.layout(stage.result)
        if isinstance(layout, SpikeLayout) and not network.schedule.stepwise:
            assert isinstance(stage.result.coding, Spikes)
            used = len(stage.result.coding.payloads)
            yield (
                f"NETWORK_SPIKES({number}, {network.names[name]}, {layout.rows}, {layout.planes}, "
                f"{used}, {layout.steps}, {layout.row_bytes}, {layout.width * layout.channels});"
            )
