"""Emitted circuits: equal to the reference in two simulators, lint-clean, synthesised, proven."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
from random_nets import I24, Random, assert_equal_runs, feeds

from spikec.backends import available_engine, engine, target
from spikec.backends.lowering import lower
from spikec.backends.lowering.records import IntegrateSigned, Layer, Term
from spikec.backends.verilog import simulator
from spikec.backends.verilog.design import design_of
from spikec.backends.verilog.emit import build
from spikec.backends.verilog.engine import run
from spikec.backends.verilog.engines import LayerEngine
from spikec.ir import BackendError, Graph, RangeError, parse, verify
from spikec.runtime import hexfiles
from spikec.runtime.interpreter import simulate

FORMAL = Path(__file__).parent / "formal"


def need(tool: str) -> None:
    if shutil.which(tool) is None:
        pytest.skip(f"no {tool}")


@pytest.fixture(autouse=True)
def own_cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SPIKEC_CACHE", str(tmp_path_factory.getbasetemp() / "cache"))


def residual() -> Graph:
    """A network with a stride, a depthwise layer, a join, max and average pooling and a readout."""
    net = Random(3)
    net.radix = False
    rng = net.rng

    def neuron(current, theta, op="integrate", **attrs):
        p = {"theta": (np.full(4, theta), I24), "v0": (rng.integers(0, theta, 4), I24)}
        if op == "integrate_signed":
            p["theta_neg"] = (0, I24)
        return net.spiking(op, current, attrs, **p)

    def conv(x, out, kernel, stride, groups=1):
        pads = (kernel // 2,) * 4
        attrs = {"strides": (stride,) * 2, "pads": pads, "dilations": (1, 1), "groups": groups}
        w = net.weights(out, x.type.shape[0] // groups, kernel, kernel)
        return net.add("conv", [x], I24, attrs, w=w)

    first = neuron(conv(net.input("x", 2, 12, 12), 4, 3, 1), 30000)
    pooled = net.pooled(first)
    inner = neuron(conv(pooled, 4, 3, 2), 150, "integrate_signed", free=False)
    deep = conv(inner, 4, 3, 1, groups=4)
    joined = neuron(net.add("add", [deep, conv(pooled, 4, 1, 2)], I24), 200)
    attrs = {"kernel": (2, 2), "strides": (2, 2), "pads": (0,) * 4, "dilations": (1, 1)}
    mean = net.add("sum_pool", [joined], I24, attrs)
    flat = net.reshaped(mean, mean.type.size)
    out = net.add("accumulate", [net.add("dense", [flat], I24, w=net.weights(5, mean.type.size))],
                  I24)  # fmt: skip
    return verify(Graph("residual", "int", 4, tuple(net.nodes), (out.name,), net.params))


def command(folder: Path, *words: str) -> str:
    made = subprocess.run(words, cwd=folder, capture_output=True, text=True, timeout=300)
    assert made.returncode == 0, made.stdout + made.stderr
    return made.stdout + made.stderr


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The emitted network and golden traces of two samples."""
    target("verilog{cycles=6000}").emit(residual(), tmp_path)
    hexfiles.write(tmp_path / "hex", residual(), feeds(residual(), 1, 2), engine("reference"))
    return tmp_path


# Bit for bit the reference


@pytest.mark.parametrize("seed", [*range(8), *(pytest.param(n, marks=pytest.mark.slow) for n in range(8, 60))])  # fmt: skip  # noqa: E501
def test_random_networks_in_icarus(seed: int) -> None:
    need("iverilog")
    graph = Random(seed).grow(5)
    simulated = available_engine("verilog{simulator=icarus}")
    assert_equal_runs(simulated.simulate, graph, feeds(graph, seed))


def test_the_residual_network_in_verilator_and_its_cycles(tmp_path: Path) -> None:
    need("verilator")
    graph, x = residual(), feeds(residual(), 2, 4)
    assert_equal_runs(available_engine("verilog{cycles=6000}").simulate, graph, x)
    project = build(graph, 6000)
    said = run(project, x, tmp_path, False, "verilator")  # nothing pauses
    measured = [int(n) for n in re.findall(r"(?:latency|interval) (\d+)", said)]
    time = project.design.timing
    assert measured[0] == pytest.approx(time.latency, rel=0.05)
    assert measured[1] == pytest.approx(time.interval, rel=0.05)


def test_icarus_meets_the_golden_traces(folder: Path) -> None:
    need("iverilog")
    assert "0 of 10 outputs differ" in command(folder, "sh", "icarus.sh", "+stalls")
    for file in (folder / "hex").glob("*.potentials.hex"):
        lines = file.read_text().splitlines()
        file.write_text("\n".join([*lines[:-1], f"{int(lines[-1], 16) ^ 1:06x}"]) + "\n")
    assert "1 of 10 outputs differ" in command(folder, "sh", "icarus.sh")


def test_a_frame_of_another_size_is_noticed(folder: Path) -> None:
    need("iverilog")
    file = folder / "simulation" / "stimulus.sv"
    file.write_text(file.read_text().replace("place == PLACES - 1", "place == PLACES - 2"))
    made = subprocess.run(["sh", "icarus.sh"], cwd=folder, capture_output=True, text=True)
    assert made.returncode != 0
    assert "the network saw TLAST at another place" in made.stdout


@pytest.mark.parametrize(
    "seed", [None, *(pytest.param(n, marks=pytest.mark.slow) for n in range(12))]
)
def test_what_yosys_reads_is_the_same_circuit(seed: int | None, tmp_path: Path) -> None:
    """The netlist that it makes, simulated: tools read parts of the language in their own ways."""
    need("yosys")
    need("iverilog")
    graph = residual() if seed is None else Random(seed).grow(5)
    target("verilog{cycles=6000}").emit(graph, tmp_path)
    hexfiles.write(tmp_path / "hex", graph, feeds(graph, 1, 2), engine("reference"))
    script = "read_verilog -sv -defer library/*.sv network.sv; prep -top network -flatten"
    command(tmp_path, "yosys", "-q", "-p", f"{script}; write_verilog -noattr netlist.sv")
    for file in (tmp_path / "library").iterdir():
        file.unlink()
    (tmp_path / "netlist.sv").replace(tmp_path / "network.sv")
    (tmp_path / "library" / "none.sv").write_text("")
    said = command(tmp_path, "sh", "icarus.sh")
    assert "\n0 of" in f"\n{said}"


def test_a_number_that_leaves_its_width_is_found_as_by_the_reference() -> None:
    need("iverilog")
    graph = parse("""
    graph @wide <stage=int, steps=3> {
      param @one : f64[] = 1.0
      param @zero : f64[] = 0.0
      param @w : i8[1,2] = [[100, 100]]
      %x : u8[2] = input() <scale=@one, offset=@zero>
      %d : i17[1] = dense(%x) <w=@w>
      %out : i17[1] = accumulate(%d)
      return %out
    }
    """)
    simulated = available_engine("verilog{simulator=icarus}")
    assert_equal_runs(simulated.simulate, graph, {"x": np.array([[100, 90]])})
    with pytest.raises(RangeError, match="%out reaches 102000"):
        simulated.simulate(graph, {"x": np.array([[255, 255]])})


# What is emitted


def test_lint_finds_nothing(folder: Path) -> None:
    need("verilator")
    said = command(folder, "verilator", "--lint-only", "-Wall", "--top-module", "network",
                   "-y", "library", "network.sv")  # fmt: skip
    assert not said.strip()


def test_folds_follow_the_budget_on_convolutions_too() -> None:
    plan = lower(residual())
    slow, fast = (design_of(plan, cycles) for cycles in (40000, 2304))
    for design, cycles in ((slow, 40000), (fast, 2304)):
        assert design.timing.interval <= cycles

    def products(design):
        return {
            layer.stage.result.name: layer.fold.products
            for layer in design.engines
            if isinstance(layer, LayerEngine)
        }

    first = next(s for s in plan.stages if isinstance(s, Layer)).result.name
    assert products(slow)[first] == 1
    assert products(fast)[first] >= 8


def test_the_report(folder: Path) -> None:
    report = json.loads((folder / "report.json").read_text())
    assert report["timing"]["interval"] == max(row["cycles"] for row in report["layers"])
    assert report["timing"]["interval"] <= report["cycles_budget"] == 6000
    weights = [p for p in (folder / "weights").iterdir() if p.name.endswith("weights.mem")]
    assert weights
    assert report["estimate"]["memory"] > 8 * 4 * 2 * 9
    assert "@" not in (folder / "README.md").read_text().replace("@stage", "")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ("cycles=10", "takes .* cycles for a sample, the budget is 10"),
        ("device=ecp5-25k,cycles=5000", "needs about .* luts .* ecp5-25k has 24000; %"),
    ],
)
def test_what_does_not_fit_is_refused_before_anything_is_written(
    tmp_path: Path, options: str, message: str
) -> None:
    graph = wide() if "device" in options else residual()
    with pytest.raises(BackendError, match=message):
        target(f"verilog{{{options}}}").emit(graph, tmp_path)
    assert not list(tmp_path.iterdir())


def wide() -> Graph:
    """A convolution that needs many lanes to be fast."""
    net = Random(1)
    net.radix = False
    x = net.input("x", 16, 8, 8)
    attrs = {"strides": (1, 1), "pads": (1,) * 4, "dilations": (1, 1), "groups": 1}
    current = net.add("conv", [x], I24, attrs, w=net.weights(64, 16, 3, 3))
    p = {"theta": (np.full(64, 90000), I24), "v0": (0, I24)}
    spikes = net.spiking("integrate", current, {}, **p)
    again = net.add("conv", [spikes], I24, attrs, w=net.weights(64, 64, 3, 3))
    p["theta"] = (np.full(64, 900), I24)
    flat = net.spiking("integrate", again, {}, **p)
    flat = net.reshaped(flat, flat.type.size)
    out = net.add("accumulate", [net.add("dense", [flat], I24, w=net.weights(2, 4096))], I24)
    return verify(Graph("wide", "int", 4, tuple(net.nodes), (out.name,), net.params))


def test_without_the_simulator_there_is_one_clear_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(simulator.shutil, "which", lambda name: None)
    with pytest.raises(BackendError, match="engine 'verilog' is not available: there is no Veri"):
        available_engine("verilog")


# Synthesis and proofs


@pytest.mark.parametrize(("family", "memory"), [("ecp5", "DP16KD"), ("xilinx", "RAM64M")])
def test_yosys_synthesises_without_latches_and_with_block_memories(
    folder: Path, family: str, memory: str
) -> None:
    need("yosys")
    command(folder, "sh", "yosys.sh", family)
    cells = dict(re.findall(r"(\w+) +(\d+)$", (folder / "cells.txt").read_text(), re.MULTILINE))
    assert int(cells[memory]) >= 1
    assert not any("LATCH" in name for name in cells)
    log = (folder / "yosys.log").read_text()
    assert "Found and reported 0 problems" in log
    assert "logic loop" not in log


def test_the_fifo_is_proven() -> None:
    need("yosys")
    library = Path(simulator.__file__).parent / "library"
    prove = "sat -verify -prove-asserts -set-init-zero -tempinduct -maxsteps 4 -seq 1 fifo"
    read = "read_verilog -sv -formal -defer fifo.sv; chparam -set WIDTH 3 fifo"
    command(library, "yosys", "-q", "-p", f"{read}; prep -top fifo -flatten; {prove}")


def proof_of(graph: Graph) -> str:
    """The proof for the neurons of all channels, with the bounds of what arrives in a step."""
    cells, ports = [], []
    plan = lower(graph)
    spiking = [s for s in plan.stages if isinstance(s, Layer) and hasattr(s.rule, "v0")]
    rules = {layer.result.name: layer.rule for layer in spiking}
    for layer in spiking:
        rule, bits = layer.rule, layer.sum.bits
        signed = int(isinstance(rule, IntegrateSigned))
        for channel in range(layer.result.channels):
            bias = np.array([int(layer.bias[channel])] * 2)
            single, mean = bias.copy(), bias.copy()
            for term in layer.terms:
                taken = isinstance(rules.get(term.source.name), IntegrateSigned)
                ends = term.source.range
                single += reach(term, channel, ends.low, ends.high)
                mean += reach(term, channel, 0 if taken else ends.low, ends.high)
            number = len(cells)
            ports.append(f"input wire [{plan.steps * bits - 1}:0] s{number}")
            constants = {
                "SUM": bits, "STATE": layer.state.bits, "WIDE": layer.state.bits + 3,
                "SIGNED": signed, "LOW": single[0], "HIGH": single[1], "MEAN_LOW": mean[0],
                "MEAN_HIGH": mean[1], "THETA": rule.theta[channel],
                "START": np.broadcast_to(rule.v0, layer.result.channels)[channel],
                "LEVEL": rule.theta_neg.flat[0] if signed else 0,
            }  # fmt: skip
            given = ", ".join(f".{key}({int(value)})" for key, value in constants.items())
            cells.append(f"neuron_proof #({given}) n{number} (.sums(s{number}));")
    return f"module proof({', '.join(ports)});\n" + "\n".join(cells) + "\nendmodule\n"


def reach(term: Term, channel: int, low: int, high: int) -> np.ndarray:
    """The smallest and the largest of what a synapse adds in a step."""
    w = np.ones(1) if term.weights is None else term.weights[channel]
    up, down = int(np.maximum(w, 0).sum()), int(np.minimum(w, 0).sum())
    ends = [up * low + down * high, up * high + down * low]
    return np.array([min(ends[0], 0), max(ends[1], 0)])


@pytest.mark.parametrize("narrower", [False, True])
def test_neurons_are_proven_not_to_leave_their_widths(tmp_path: Path, narrower: bool) -> None:
    """For all sums within the bounds of the weights; with a bit less the proof fails."""
    need("yosys")
    text = proof_of(residual())
    assert text.count("neuron_proof") == 12
    if narrower:
        text = re.sub(r"STATE\((\d+)\)", lambda m: f"STATE({int(m[1]) - 2})", text)
    (tmp_path / "proof.sv").write_text(text)
    cell = Path(simulator.__file__).parent / "library" / "fire_unit.sv"
    sources = f"{cell} {FORMAL / 'neuron_proof.sv'} proof.sv"
    script = (f"read_verilog -sv -formal -defer {sources}; prep -top proof -flatten; "
              "sat -verify -prove-asserts -set-assumes proof")  # fmt: skip
    made = subprocess.run(
        ["yosys", "-q", "-p", script], cwd=tmp_path, capture_output=True, text=True
    )
    assert (made.returncode == 0) is not narrower, made.stderr


def test_the_engine_gives_what_the_reference_gives_on_other_steps() -> None:
    need("iverilog")
    graph = Random(0).grow(2)
    x = feeds(graph, 0)
    simulated = available_engine("verilog{simulator=icarus}")
    got = simulated.simulate(graph, x, graph.steps + 1)
    want = simulate(graph, x, graph.steps + 1)
    for name in graph.outputs:
        np.testing.assert_array_equal(got.readout[name], want.readout[name])
