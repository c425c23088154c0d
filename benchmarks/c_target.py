"""How fast and how large emitted C is: on this machine, and in instructions on a Cortex-M4.

    python benchmarks/c_target.py OUT... --data DATA.npz [--compilers gcc,clang] [--lanes 1,32,64]

OUT are compiled artifacts. Times are CPU time of one thread for one sample: of each sample the
minimum over repeats, then the mean over samples. All that is compared takes turns, sample by
sample, so that a busy machine slows all of it: onnxruntime on the original in float32, if --models
names the ONNX files, the fast engine and the C of each compiler. Instructions are counted by qemu's
virtual time (-icount), which takes one step per instruction: they are no cycles.
"""

from __future__ import annotations

import argparse
import ctypes
import subprocess
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
from numpy.typing import NDArray

import spikec
from spikec.backends import target
from spikec.backends.c.emit import build
from spikec.backends.c.functions import output_type
from spikec.backends.lowering import lower
from spikec.ir import Graph
from spikec.runtime.coding import encode
from spikec.runtime.fast import simulate

Array = NDArray[Any]
REPEATS, SAMPLES = 30, 20
ANN = "onnxruntime, the original in float32"
TICK = 40
"""Instructions of a tick of SysTick: qemu's virtual nanosecond is one, the clock has 25 MHz."""
COUNT = """
#include <stdio.h>
#include "network.h"
#include "sample.h"
#define SYSTICK ((volatile uint32_t *)0xE000E010)
int main(void)
{
    static int32_t potentials[CLASSES];
    SYSTICK[1] = 0xFFFFFF, SYSTICK[2] = 0, SYSTICK[0] = 5;
    const uint32_t before = SYSTICK[2];
    const int result = network_run(sample, potentials);
    printf("%d %lu\\n", result, (unsigned long)((before - SYSTICK[2]) & 0xFFFFFF));
    return 0;
}
"""


def least(runs: Mapping[str, Sequence[Callable[[], object]]]) -> dict[str, float]:
    """Milliseconds: the mean over samples of the minimum over repeats; all take turns."""
    best = {name: np.full(SAMPLES, np.inf) for name in runs}
    for _ in range(REPEATS):
        for number in range(SAMPLES):
            for name, samples in runs.items():
                start = time.thread_time()
                samples[number]()
                best[name][number] = min(best[name][number], time.thread_time() - start)
    return {name: float(times.mean()) * 1e3 for name, times in best.items()}


def compiled(graph: Graph, folder: Path, compiler: str) -> ctypes.CDLL:
    flags = ["-std=c99", "-O3", "-march=native", "-fPIC", "-shared"]
    files = ["network.c", "weights.c", "-o", f"{compiler}.so"]
    subprocess.run([compiler, *flags, *files], cwd=folder, check=True)
    return ctypes.CDLL(str(folder / f"{compiler}.so"))


def runs_of(library: ctypes.CDLL, graph: Graph, codes: Array) -> list[Callable[[], object]]:
    plan = lower(graph)
    (name,) = plan.outputs
    result = next(s.result for s in plan.stages if s.result.name == name)
    out = np.zeros(result.size, str(output_type(result.range)).removesuffix("_t"))
    inputs = [np.ascontiguousarray(sample, np.uint8) for sample in codes]

    def one(sample: Array) -> Callable[[], object]:
        given = [a.ctypes.data_as(ctypes.c_void_p) for a in (sample, out)]
        return lambda: library.network_run(*given)

    return [one(sample) for sample in inputs]


def instructions(folder: Path, codes: Array, classes: int) -> int:
    """Of one sample on a Cortex-M4."""
    values = ", ".join(map(str, codes.reshape(-1).tolist()))
    (folder / "count.c").write_text(COUNT)
    (folder / "sample.h").write_text(
        f"#define CLASSES {classes}\nstatic const uint8_t sample[] = {{{values}}};\n"
    )
    subprocess.run(
        [
            "arm-none-eabi-gcc",
            "-mthumb",
            "-mcpu=cortex-m4",
            "-std=c99",
            "-O2",
            "--specs=rdimon.specs",
            "-T",
            "boards/mps2.ld",
            "-I.",
            "boards/start.c",
            "count.c",
            "network.c",
            "weights.c",
            "-o",
            "count.elf",
        ],
        cwd=folder,
        check=True,
    )
    ran = subprocess.run(
        [
            "qemu-system-arm",
            "-nographic",
            "-icount",
            "shift=0",
            "-semihosting-config",
            "enable=on,target=native",
            "-M",
            "mps2-an386",
            "-kernel",
            "count.elf",
        ],
        cwd=folder,
        check=True,
        capture_output=True,
        text=True,
    )
    result, ticks = map(int, ran.stdout.split())
    assert result == 0
    return ticks * TICK


def code_size(folder: Path) -> int:
    """Bytes of code of network_run on a Cortex-M4."""
    subprocess.run(
        [
            "arm-none-eabi-gcc",
            "-mthumb",
            "-mcpu=cortex-m4",
            "-std=c99",
            "-O2",
            "-c",
            "network.c",
            "-o",
            "arm.o",
        ],
        cwd=folder,
        check=True,
    )
    text = subprocess.run(
        ["arm-none-eabi-size", "arm.o"], cwd=folder, capture_output=True, text=True, check=True
    ).stdout
    return int(text.splitlines()[1].split()[0])


def measure(out: Path, data: Array, model: Path | None, arguments: argparse.Namespace) -> None:
    graph = spikec.load(out).graph
    (source,) = graph.inputs
    x = data[:SAMPLES].reshape(-1, *source.type.shape).astype(np.float32)
    codes = encode(graph, {source.name: x}).feeds[source.name]
    runs: dict[str, Sequence[Callable[[], object]]] = {
        "the fast engine": [
            lambda c=c: simulate(graph, {source.name: c[None]}, None) for c in codes
        ]
    }
    if model is not None:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        session = onnxruntime.InferenceSession(str(model), options)
        given = session.get_inputs()[0].name
        runs[ANN] = [lambda s=s: session.run(None, {given: s[None]}) for s in x]
    print(f"### {out.name}, T = {graph.steps}\n")
    print("| lanes | constants | shared memory | code on M4 | instructions on M4 |")
    print("|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as name:
        for lanes in arguments.lanes:
            folder = Path(name) / str(lanes)
            folder.mkdir()
            target(f"c{{lanes={lanes}}}").emit(graph, folder)
            constants = next(
                line.split("|")[2].strip()
                for line in (folder / "README.md").read_text().splitlines()
                if line.startswith("| constants")
            )
            counted = (
                sum(instructions(folder, c, graph[graph.outputs[0]].type.size) for c in codes[:4])
                // 4
            )
            memory = build(lower(graph), lanes).memory.bytes
            print(
                f"| {lanes} | {constants} | {memory} | {code_size(folder)} | {counted} |",
                flush=True,
            )
            for compiler in arguments.compilers:
                library = compiled(graph, folder, compiler)
                runs[f"C, {lanes} lanes, {compiler}"] = runs_of(library, graph, codes)
        times = least(runs)
    print("\n| one sample | ms | times onnxruntime |\n|---|---|---|")
    for kind, ms in times.items():
        ratio = f"{ms / times[ANN]:.2f}" if ANN in times else ""
        print(f"| {kind} | {ms:.3f} | {ratio} |")
    print()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("out", nargs="+", type=Path)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--models", nargs="*", type=Path, default=[])
    parser.add_argument("--compilers", type=lambda text: text.split(","), default=["gcc", "clang"])
    parser.add_argument(
        "--lanes", type=lambda text: [int(n) for n in text.split(",")], default=[1, 32, 64]
    )
    arguments = parser.parse_args()
    with np.load(arguments.data) as archive:
        data = archive["x"]
    models = [*arguments.models, *[None] * len(arguments.out)]
    for out, model in zip(arguments.out, models, strict=False):
        measure(out, data, model, arguments)


if __name__ == "__main__":
    main()
