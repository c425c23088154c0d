"""Hex traces and the golden model in simulators of hardware: Verilator and Icarus."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest

from spikec.backends import engine, target
from spikec.ir import Graph, parse
from spikec.runtime import hexfiles
from spikec.runtime.interpreter import simulate

HDL = Path(__file__).parents[2] / "examples" / "hdl"
SAMPLES = 3


def network() -> Graph:
    """The network of the examples: a dense layer of six neurons behind eight inputs."""
    rng = np.random.default_rng(1)
    w = rng.integers(-30, 60, (6, 8)).tolist()
    theta = rng.integers(3000, 9000, 6).tolist()
    out = rng.integers(-9, 9, (3, 6)).tolist()
    return parse(f"""
    graph @hdl <stage=int, steps=4> {{
      param @one : f64[] = 1.0
      param @zero : f64[] = 0.0
      param @w : i8[6,8] = {w}
      param @theta : i24[6] = {theta}
      param @v0 : i24[6] = [100, 0, -100, 7, 8, 9]
      param @out.w : i8[3,6] = {out}
      %x : u8[8] = input() <scale=@one, offset=@zero>
      %synapse : i24[6] = dense(%x) <w=@w>
      %layer : spike[6] = integrate(%synapse) <theta=@theta, v0=@v0>
      %d : i24[3] = dense(%layer) <w=@out.w>
      %out : i24[3] = accumulate(%d)
      return %out
    }}
    """)


@pytest.fixture(scope="module")
def inputs() -> dict[str, np.ndarray]:
    return {"x": np.random.default_rng(2).integers(0, 256, (SAMPLES, 8))}


@pytest.fixture
def folder(tmp_path: Path, inputs: dict[str, np.ndarray]) -> Path:
    """The examples, the hex files and the emitted network."""
    target("c").emit(network(), tmp_path)
    hexfiles.write(tmp_path / "hex", network(), inputs, engine("reference"))
    for file in HDL.glob("*.sv"):
        shutil.copy(file, tmp_path)
    return tmp_path


def run(folder: Path, *command: str) -> str:
    made = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=300)
    assert made.returncode == 0, made.stdout + made.stderr
    return made.stdout


def need(tool: str) -> None:
    if shutil.which(tool) is None:
        pytest.skip(f"no {tool}")


def damage(file: Path) -> None:
    lines = file.read_text().splitlines()
    lines[0] = f"{int(lines[0], 16) ^ 1:x}"
    file.write_text("\n".join(lines) + "\n")


def test_the_example_fires(inputs: dict[str, np.ndarray]) -> None:
    spikes = simulate(network(), inputs, None, ["layer"]).traces["layer"].spikes
    assert spikes is not None
    assert 0 < spikes.sum() < spikes.size


def test_icarus_meets_the_hex_files(folder: Path) -> None:
    need("iverilog")
    run(folder, "iverilog", "-g2012", "-o", "sim", "dense_integrate.sv", "testbench.sv")
    assert "0 of 144 differ" in run(folder, "vvp", "sim")
    damage(folder / "hex" / "layer.spikes.hex")
    assert "1 of 144 differ" in run(folder, "vvp", "sim")


def test_verilator_meets_the_hex_files(folder: Path) -> None:
    need("verilator")
    run(folder, "verilator", "--binary", "--timing", "-Wno-fatal", "--top", "testbench",
        "dense_integrate.sv", "testbench.sv")  # fmt: skip
    assert "0 of 144 differ" in run(folder, "obj_dir/Vtestbench")
    damage(folder / "hex" / "layer.potentials.hex")
    assert "1 of 144 differ" in run(folder, "obj_dir/Vtestbench")


def test_the_golden_model_in_verilator(folder: Path, inputs: dict[str, np.ndarray]) -> None:
    need("verilator")
    run(folder, "verilator", "--binary", "--timing", "-Wno-fatal", "--top", "golden",
        "-CFLAGS", "-I.. -DNETWORK_TRACE", "dpi/network_dpi.sv", "golden.sv",
        "dpi/network_dpi.c", "network.c", "weights.c")  # fmt: skip
    text = run(folder, "obj_dir/Vgolden")
    assert "0 of 144 differ" in text
    found = [list(map(int, line.split())) for line in text.splitlines()[:SAMPLES]]
    assert found == simulate(network(), inputs).readout["out"][-1].tolist()


def test_what_hex_files_hold(tmp_path: Path, inputs: dict[str, np.ndarray]) -> None:
    graph = network()
    manifest = hexfiles.write(tmp_path, graph, inputs, engine("fast"))
    assert json.loads((tmp_path / "manifest.json").read_text()) == json.loads(json.dumps(manifest))
    traces = simulate(graph, inputs, None, ["layer", "out"]).traces
    want = {
        "x.hex": inputs["x"],
        "synapse.w.hex": graph.params["w"].array,
        "layer.theta.hex": graph.params["theta"].array,
        "layer.v0.hex": graph.params["v0"].array,
        "d.w.hex": graph.params["out.w"].array,
        "layer.spikes.hex": np.moveaxis(traces["layer"].spikes, 1, 0),
        "layer.potentials.hex": np.moveaxis(traces["layer"].potentials, 1, 0),
        "out.potentials.hex": np.moveaxis(traces["out"].potentials, 1, 0),
    }
    assert {file["file"] for file in manifest["files"]} == set(want)
    for file in manifest["files"]:
        lines = (tmp_path / file["file"]).read_text().splitlines()
        assert {len(line) for line in lines} == {-(-file["bits"] // 4)}
        words = np.array([int(line, 16) for line in lines])
        if file["signed"]:
            words = np.where(words >> (file["bits"] - 1), words - (1 << file["bits"]), words)
        np.testing.assert_array_equal(words.reshape(file["shape"]), want[file["file"]])
        assert len(file["order"]) == len(file["shape"])
