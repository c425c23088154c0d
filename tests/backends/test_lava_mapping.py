"""What is said about how a network was mapped to Lava, and the README that says it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from unittest import mock

import numpy as np
import pytest
from lava_nets import GEOMETRY, Net, runs_lava

import spikec
from spikec.backends import target
from spikec.backends.backend import MappedPart
from spikec.backends.lava.emit import emit
from spikec.backends.lava.mapping import describe, is_quick
from spikec.ir import SPIKE

POOL = {"kernel": (2, 2), "strides": (2, 2), "pads": (0,) * 4, "dilations": (1, 1)}


def network() -> Net:
    """One of everything that is worth a row."""
    net = Net(3)
    a = net.integrate(net.conv(net.input(2, 6, 6), 3, (3, 3), **GEOMETRY), 9000, 3)
    b = net.signed(net.conv(a, 3, (3, 3), pads=(1, 0, 1, 2)), free=True)
    c = net.add("sum_pool", b, (3, 3, 3), attrs=POOL)
    d = net.add("conv", c, (3, 3, 3), attrs={**GEOMETRY, "groups": 1}, w=net.weights(3, 3, 3, 3))
    e = net.add("max_pool_count", a, (3, 3, 3), SPIKE, POOL)
    skip = net.add("affine", e, (3, 3, 3), w=net.weights(3))
    f = net.integrate(net.add("add", f"{d} {skip}", (3, 3, 3)), 200)
    net.readout(net.dense(net.flatten(f), 2))
    return net


def said(rows: list[MappedPart], layer: str) -> dict[str, tuple[str, bool]]:
    return {row.what: (row.how, row.chip) for row in rows if row.layer == layer}


def test_everything_has_a_row() -> None:
    graph = network().graph()
    rows = describe(graph)
    assert {row.layer for row in rows} >= {n.name for n in graph.nodes} - {"resh11", "add9"}
    assert all(bool(row.change) is not row.chip for row in rows)
    assert not any(row.microcode for row in rows if not row.chip)
    names = {node.op: node.name for node in graph.nodes}
    pooled = said(rows, names["max_pool_count"])
    assert [chip for _, chip in pooled.values()] == [False, False]
    assert "spikes straight into a layer" in pooled
    assert said(rows, "conv3")["conv"][0].endswith("pads both sides alike")
    assert said(rows, "conv6")["chain of linear ops"][1] is False
    relay = said(rows, names["integrate_signed"])["relay of a signed value"]
    assert relay == ("`neurons/integrate_signed.py`", True)
    coded = {(row.layer, row.what) for row in rows if row.microcode}
    assert coded >= {
        (names["integrate_signed"], "relay of a signed value"),
        (names["integrate"], "bias"),
        (names["accumulate"], "readout"),
    }
    assert "2 steps later to balance paths" in said(rows, names["affine"])["affine"][0]


def test_a_network_of_large_matrices_is_not_described_in_passing() -> None:
    net = Net(5)
    conv = net.integrate(net.conv(net.input(2, 6, 6), 3, (3, 3)), 9000)
    net.readout(net.add("reduce_sum", conv, (3, 1, 1), attrs={"axes": (1, 2)}))
    graph = net.graph()
    assert is_quick(graph)
    sizes = {"QUICK": 3 * 4 * 4 * 3 - 1}
    with mock.patch.multiple("spikec.backends.lava.mapping", **sizes):
        assert not is_quick(graph)
        (row,) = target("lava").describe(graph, quick=True)
        assert row.what == "parts that were not looked at"
        assert len(target("lava").describe(graph)) > 1


def test_stock_neurons_and_those_that_are_not() -> None:
    graph = network().graph()
    rows = describe(graph, neuron="stock")
    first, last = (node.name for node in graph.nodes if node.op == "integrate")
    assert "not stock: a current of " in next(iter(said(rows, first).values()))[0]
    assert "Lava's ATRLIF, proven exact" in next(iter(said(rows, last).values()))[0]


@runs_lava
@pytest.mark.lava
def test_a_project_codes_real_inputs_and_says_how_it_was_mapped(
    tiny_artifact: spikec.Artifact, tiny_data: np.ndarray, tmp_path: Path
) -> None:
    emit(tiny_artifact.graph, tmp_path / "project")
    readme = (tmp_path / "project" / "README.md").read_text()
    assert "| max pooling | running maximum of spike counts" in readme
    assert "@" not in readme
    np.save(tmp_path / "x.npy", tiny_data[:3])
    command = [sys.executable, "run.py", "--input", "../x.npy", "--real"]
    subprocess.run(command, cwd=tmp_path / "project", check=True, timeout=120)
    with np.load(tmp_path / "project" / "predictions.npz") as found:
        np.testing.assert_allclose(found["logits"], tiny_artifact.run(tiny_data[:3]), rtol=1e-12)
