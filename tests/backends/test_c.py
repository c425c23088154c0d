"""The C target: compiled, bit for bit the reference."""

from __future__ import annotations

import ctypes
import re
import subprocess
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from random_nets import Random, assert_equal_runs, feeds

import spikec
from spikec.backends import Simulate, engine, target
from spikec.backends.c.compiler import shared_object
from spikec.backends.c.emit import Project, build
from spikec.backends.c.functions import output_type
from spikec.backends.c.layout import CType, input_type
from spikec.backends.lowering import lower
from spikec.ir import BackendError, Graph, Param, RangeError, signed, unsigned, verify
from spikec.ir.op import Synapse
from spikec.runtime.interpreter import simulate as reference

Images = dict[str, np.ndarray]
simulate = engine("c")


@pytest.fixture(autouse=True)
def quick(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """Compile without optimisation, into a cache of the tests' own."""
    monkeypatch.setenv("SPIKEC_CFLAGS", "-O1")
    monkeypatch.setenv("SPIKEC_CACHE", str(tmp_path_factory.getbasetemp() / "cache"))


@pytest.mark.parametrize("seed", [*range(10), 76])
def test_random_networks(seed: int) -> None:
    graph = Random(seed).grow(seed % 8)
    assert_equal_runs(simulate, graph, feeds(graph, seed))


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(10, 110))
def test_more_random_networks(seed: int) -> None:
    graph = Random(seed).grow(seed % 8)
    assert_equal_runs(simulate, graph, feeds(graph, seed))


@pytest.mark.parametrize("steps", [1, 9, 70])
def test_other_steps(steps: int) -> None:
    graph = Random(5).grow(4)
    assert_equal_runs(simulate, graph, feeds(graph, 5), steps)


@pytest.mark.parametrize(
    ("name", "options", "most"),
    [
        ("fashion_resnet8", {}, 1 << 16),
        ("fashion_resnet8", {"schedule": "layerwise"}, 1 << 16),
        ("fashion_qcfs_vgg", {"spikes": "graded"}, 1 << 18),
    ],
    ids=["signed", "layerwise", "graded"],
)
def test_examples(
    examples: Path, images: Images, name: str, options: dict[str, str], most: int
) -> None:
    """Equal, in bytes of memory that a microcontroller has."""
    artifact = spikec.compile(
        examples / f"{name}.onnx", images["x_calib"][:16], timesteps=8, reconstruct="off", **options
    )
    x = images["x"][:2].astype(np.float32)
    assert artifact.check(x, ("reference", "c"))["equal"]
    assert project(artifact.graph).memory.bytes < most


def range_error(simulate: Simulate, graph: Graph, x: dict[str, Any]) -> str | None:
    try:
        simulate(graph, x)
    except RangeError as error:
        return str(error)
    return None


@pytest.mark.parametrize("seed", range(8))
def test_overflow_is_never_silent(seed: int) -> None:
    graph = Random(seed).grow(seed % 4)
    narrow = signed(12 + seed)
    nodes = [
        replace(n, type=n.type.with_dtype(narrow)) if n.type.dtype == signed(24) else n
        for n in graph.nodes
    ]
    graph = replace(graph, nodes=tuple(nodes))
    x = feeds(graph, seed)
    want = range_error(reference, graph, x)
    assert range_error(simulate, graph, x) == want
    if want is None:
        assert_equal_runs(simulate, graph, x)


@pytest.mark.parametrize("seed", range(6))
def test_weight_exponents(seed: int) -> None:
    graph, rng = Random(seed).grow(3), np.random.default_rng(seed)
    nodes, params = [], {}
    for node in graph.nodes:
        if isinstance(node.operation, Synapse) and node.type.shape:
            name, channels = f"{node.name}.exponent", node.type.shape[0]
            params[name] = Param.of(rng.integers(0, 4, channels), unsigned(5))
            node = replace(node, params={**node.params, "exponent": name})
        nodes.append(node)
    assert params
    assert_equal_runs(simulate, verify(graph.with_nodes(nodes, params)), feeds(graph, seed))


# The other interface


def project(graph: Graph, lanes: int = 32) -> Project:
    return build(lower(graph), lanes)


def numpy_name(type_: CType) -> str:
    return str(type_).removesuffix("_t")


def run_steps(graph: Graph, x: dict[str, Any], sample: int) -> tuple[list[int], list[np.ndarray]]:
    """What `network_step` returns in each call, and its results after the last one."""
    made = project(graph)
    names = ("network_step.c", "weights.c", "network.h", "weights.h", "network_bits.h")
    library = shared_object({name: made.files[name] for name in names})
    plan = made.plan
    results = {stage.result.name: stage.result for stage in plan.stages}
    given = [
        np.ascontiguousarray(x[v.name][sample], numpy_name(input_type(v.range)))
        for v in plan.inputs
    ]
    found = [
        np.zeros(results[name].shape, numpy_name(output_type(results[name].range)))
        for name in plan.outputs
    ]
    arguments = [array.ctypes.data_as(ctypes.c_void_p) for array in (*given, *found)]
    library.network_start()
    return [library.network_step(*arguments) for _ in range(graph.steps + 1)], found


@pytest.mark.parametrize("seed", range(6))
def test_step_by_step(seed: int) -> None:
    graph = Random(seed).grow(seed % 8)
    x = feeds(graph, seed)
    want = reference(graph, x).readout
    for sample in range(3):
        codes, found = run_steps(graph, x, sample)
        assert codes == [0] * graph.steps + [-1]
        for name, array in zip(graph.outputs, found, strict=True):
            np.testing.assert_array_equal(array, want[name][-1][sample])


# What is written


@pytest.fixture(scope="module")
def emitted(tmp_path_factory: pytest.TempPathFactory) -> dict[int, Path]:
    """Projects of some random networks, by seed."""
    folders = {}
    for seed in (4, 6):
        folders[seed] = tmp_path_factory.mktemp(f"emitted{seed}")
        target(f"c{{lanes={1 + seed}}}").emit(Random(seed).grow(seed % 8), folders[seed])
    return folders


def compile_with(folder: Path, *command: str) -> None:
    made = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    assert made.returncode == 0, made.stderr
    assert made.stderr == ""


def test_the_program_codes_real_inputs_as_spikec(
    tiny_artifact: spikec.Artifact, tiny_data: np.ndarray, tmp_path: Path
) -> None:
    target("c").emit(tiny_artifact.graph, tmp_path)
    compile_with(tmp_path, "make", "-s")
    x = tiny_data[:5] * 1.2 - 0.1
    np.save(tmp_path / "x.npy", x)
    ran = subprocess.run(["./network", "x.npy"], cwd=tmp_path, capture_output=True, text=True)
    found = np.array([line.split() for line in ran.stdout.splitlines()], np.float64)
    np.testing.assert_array_equal(found, tiny_artifact.run(x, engine="reference"))


def test_a_wrong_file_is_one_clear_error(tiny_artifact: spikec.Artifact, tmp_path: Path) -> None:
    target("c").emit(tiny_artifact.graph, tmp_path)
    compile_with(tmp_path, "make", "-s")
    for arguments in (["no.npy"], [], ["network.h", "network.h"]):
        ran = subprocess.run(
            ["./network", *arguments], cwd=tmp_path, capture_output=True, text=True
        )
        assert ran.returncode == 2
        assert ran.stderr.startswith("error: ")
        assert len(ran.stderr.splitlines()) == 1


def test_memory_is_what_the_compiler_says(emitted: dict[int, Path]) -> None:
    for seed, folder in emitted.items():
        made = project(Random(seed).grow(seed % 8), 1 + seed)
        compile_with(folder, "gcc", "-std=c99", "-O1", "-c", "network.c", "weights.c")
        text = subprocess.run(["nm", "-S", "network.o"], cwd=folder, capture_output=True, text=True)
        sizes = [line.split() for line in text.stdout.splitlines()]
        shared = sum(int(s[1], 16) for s in sizes if len(s) == 4 and s[2] in "bBdD")
        assert shared == made.memory.bytes
        figure = re.search(r"shared memory of `network_run` \| (\d+)", made.files["README.md"])
        assert figure is not None
        assert int(figure[1]) == shared
        text = subprocess.run(["nm", "-S", "weights.o"], cwd=folder, capture_output=True, text=True)
        constants = sum(int(line.split()[1], 16) for line in text.stdout.splitlines())
        assert f"constants (flash) | {constants} |" in made.files["README.md"]


def narrow(graph: Graph, bits: int, rng: np.random.Generator) -> Graph:
    """A graph whose weights have few bits, each row times a power of two."""
    weights = {node.params["w"] for node in graph.nodes if "w" in node.params}
    params = dict(graph.params)
    for name in weights:
        array = graph.params[name].array
        assert array is not None
        mantissas = array.astype(np.int64) % (1 << bits) - (1 << bits - 1)
        factors = 1 << rng.integers(0, 8 - bits, (len(array), *[1] * (array.ndim - 1)))
        params[name] = Param.of(mantissas * factors, graph.params[name].type.dtype)
    return verify(replace(graph, params=params))


@pytest.mark.parametrize("bits", [2, 3, 4])
@pytest.mark.parametrize("seed", [3, 4, 5, 7])
def test_weights_of_few_bits_share_bytes(bits: int, seed: int, tmp_path: Path) -> None:
    graph = narrow(Random(seed).grow(seed % 8), bits, np.random.default_rng(seed))
    assert_equal_runs(simulate, graph, feeds(graph, seed))
    small, plain = build(lower(graph), 1), build(lower(graph), 1, packed=False)
    assert f"{2 if bits > 2 else 4} in a byte" in small.files["weights.c"]
    assert "in a byte" not in plain.files["weights.c"]
    write(small, tmp_path)
    strict = ["-Wall", "-Wextra", "-Wconversion", "-pedantic", "-Werror"]
    compile_with(tmp_path, "gcc", "-std=c99", *strict, "-c", "network.c", "weights.c")
    text = subprocess.run(["nm", "-S", "weights.o"], cwd=tmp_path, capture_output=True, text=True)
    constants = sum(int(line.split()[1], 16) for line in text.stdout.splitlines())
    assert f"constants (flash) | {constants} |" in small.files["README.md"]
    assert constants < flash(plain)


def write(made: Project, folder: Path) -> None:
    for name, text in made.files.items():
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text(text)


def flash(made: Project) -> int:
    figure = re.search(r"constants \(flash\) \| (\d+)", made.files["README.md"])
    assert figure is not None
    return int(figure[1])


def test_packing_halves_the_flash_of_a_network_of_4_bits(
    examples: Path, images: Images, tmp_path: Path
) -> None:
    artifact = spikec.compile(
        examples / "fashion_resnet8.onnx", images["x_calib"][:16], timesteps=4,
        reconstruct="off", weight_bits=4,
    )  # fmt: skip
    plan = lower(artifact.graph)
    assert flash(build(plan, 1)) < 0.55 * flash(build(plan, 1, packed=False))
    assert artifact.check(images["x"][:2].astype(np.float32), ("reference", "c"))["equal"]


@pytest.mark.parametrize("lanes", [1, 7, 64])
def test_lanes_change_nothing(lanes: int) -> None:
    for seed in (1, 6):
        graph = Random(seed).grow(4)
        x = feeds(graph, seed)
        want, got = reference(graph, x), engine(f"c{{lanes={lanes}}}")(graph, x)
        for name in graph.outputs:
            np.testing.assert_array_equal(got.readout[name], want.readout[name])


def test_a_float_graph_is_refused(tiny_artifact: spikec.Artifact, tmp_path: Path) -> None:
    with pytest.raises(BackendError, match="stage snn"):
        target("c").emit(tiny_artifact.stage("float"), tmp_path)
    assert not list(tmp_path.iterdir())


def test_a_missing_compiler_is_one_clear_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CC", "no-such-compiler")
    with pytest.raises(BackendError, match="there is no C compiler"):
        engine("c")


def test_the_same_graph_gives_the_same_bytes(tmp_path: Path) -> None:
    for folder in (tmp_path / "a", tmp_path / "b"):
        folder.mkdir()
        target("c").emit(Random(3).grow(5), folder)
    first, second = (
        {p.name: p.read_bytes() for p in folder.rglob("*") if p.is_file()}
        for folder in sorted(tmp_path.iterdir())
    )
    assert first == second
