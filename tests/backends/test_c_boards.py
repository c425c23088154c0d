"""Emitted C under other toolchains: Cortex-M and RISC-V in qemu, WebAssembly in node."""

from __future__ import annotations

import shutil
import subprocess
import zlib
from pathlib import Path

import numpy as np
import pytest

import spikec
from spikec.backends import target
from spikec.backends.c.emit import Project, build
from spikec.backends.c.layout import SpikeLayout
from spikec.backends.lowering import lower
from spikec.backends.lowering.records import Spikes
from spikec.ir import Graph
from spikec.runtime.check import traced_layers
from spikec.runtime.coding import encode
from spikec.runtime.interpreter import simulate

TOOLS = {
    "cortex-m4": ("arm-none-eabi-gcc", "qemu-system-arm"),
    "cortex-m7": ("arm-none-eabi-gcc", "qemu-system-arm"),
    "riscv64": ("riscv64-linux-gnu-gcc", "qemu-riscv64"),
    "wasm": ("clang", "node"),
}


def need(*tools: str) -> None:
    for tool in tools:
        if shutil.which(tool) is None:
            pytest.skip(f"no {tool}")
    if "clang" in tools and not Path("/usr/include/wasm32-wasi").exists():
        pytest.skip("no wasi-libc")


def make(folder: Path, *arguments: str) -> str:
    made = subprocess.run(
        ["make", "-s", *arguments], cwd=folder, capture_output=True, text=True, timeout=300
    )
    assert made.returncode == 0, made.stderr
    return made.stdout


def spike_hash(made: Project, spikes: dict[str, np.ndarray], sample: int) -> int:
    """CRC-32 of all spikes (steps, batch, *shape), as the emitted network computes it."""
    crc = 0
    for stage in made.plan.stages:
        layout, name = made.memory.layouts[stage.result.name], stage.result.name
        if not isinstance(layout, SpikeLayout) or name not in spikes:
            continue
        assert isinstance(stage.result.coding, Spikes)
        value = spikes[name][:, sample].reshape(layout.steps, layout.channels, layout.rows, -1)
        rows = value.transpose(2, 0, 3, 1).reshape(layout.rows, layout.steps, -1)
        planes = np.stack([rows == payload for payload in stage.result.coding.payloads], axis=1)
        crc = zlib.crc32(np.packbits(planes, axis=-1, bitorder="little").tobytes(), crc)
    return crc


def want(graph: Graph, x: np.ndarray) -> list[list[int]]:
    """Potentials of the readout, and the hash of all spikes, of each sample."""
    made = build(lower(graph), 1)
    feeds = encode(graph, {graph.inputs[0].name: x}).feeds
    run = simulate(graph, feeds, None, traced_layers(graph))
    spikes = {name: t.spikes for name, t in run.traces.items() if t.spikes is not None}
    (name,) = graph.outputs
    return [
        [*run.readout[name][-1][sample].reshape(-1).tolist(), spike_hash(made, spikes, sample)]
        for sample in range(len(x))
    ]


def read(text: str) -> list[list[int]]:
    lines = [line.split() for line in text.splitlines()]
    return [[*map(int, line[:-1]), int(line[-1], 16)] for line in lines]


@pytest.fixture(scope="module")
def resnet(
    examples: Path, images: dict[str, np.ndarray], tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, list[list[int]]]:
    """The project of the bundled ResNet, and what it should print."""
    folder = tmp_path_factory.mktemp("resnet")
    artifact = spikec.compile(
        examples / "fashion_resnet8.onnx", images["x_calib"][:16], timesteps=4, reconstruct="off"
    )
    target("c{lanes=1}").emit(artifact.graph, folder)
    x = images["x"][:2].astype(np.float32)
    np.save(folder / "x.npy", x)
    (source,) = artifact.graph.inputs
    np.save(folder / "codes.npy", encode(artifact.graph, {source.name: x}).feeds[source.name])
    return folder, want(artifact.graph, x)


@pytest.mark.parametrize("board", TOOLS)
def test_boards(board: str, resnet: tuple[Path, list[list[int]]]) -> None:
    need(*TOOLS[board])
    folder, expected = resnet
    flags = "CROSSFLAGS=-std=c99 -O2 -Wall -Wextra -DNETWORK_HASH"
    make(folder, board, flags)
    assert read(make(folder, f"run-{board}", flags, "ARGUMENTS=--integers x.npy")) == expected


def test_the_host_computes_the_same_hash(resnet: tuple[Path, list[list[int]]]) -> None:
    folder, expected = resnet
    make(folder, "CFLAGS=-std=c99 -O2 -DNETWORK_HASH")
    text = subprocess.run(
        ["./network", "--integers", "x.npy"], cwd=folder, capture_output=True, text=True
    ).stdout
    assert read(text) == expected


def test_cmake_builds_it(resnet: tuple[Path, list[list[int]]]) -> None:
    need("cmake")
    folder, expected = resnet
    for command in (["cmake", "-B", "build"], ["cmake", "--build", "build"]):
        made = subprocess.run(command, cwd=folder, capture_output=True, text=True)
        assert made.returncode == 0, made.stderr
    ran = subprocess.run(
        ["build/network", "--integers", "x.npy"], cwd=folder, capture_output=True, text=True
    )
    found = [list(map(int, line.split())) for line in ran.stdout.splitlines()]
    assert found == [line[:-1] for line in expected]


def test_a_blinking_board(resnet: tuple[Path, list[list[int]]]) -> None:
    need(*TOOLS["cortex-m4"])
    folder, expected = resnet
    codes = ", ".join(map(str, np.load(folder / "codes.npy")[0].reshape(-1)))
    text = f"#define CLASSES 10\nstatic const uint8_t sample[] = {{{codes}}};\n"
    (folder / "sample.h").write_text(text)
    assert make(folder, "blink") == f"class {int(np.argmax(expected[0][:-1]))}\n"
