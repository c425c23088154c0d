"""Commands work in blocks that fit the memory there is, and say what would fit where none does."""

import re

import pytest

import spikec
from spikec.runtime import check
from spikec.runtime.estimate import compilation, held_elements, simulation
from spikec.runtime.memory import ALLOWED


@pytest.fixture
def graph(files):
    return spikec.load(files.out).graph


def room_for(graph, samples, engine):
    need = simulation(graph, graph.steps, engine)
    return str(need.fixed + samples * need.per_sample)


def test_calibration_that_does_not_fit_names_what_would(files, fails, cli, monkeypatch, tmp_path):
    ann = spikec.driver.model.Model.load(files.model).graph
    need = compilation(ann, 4, 48)
    monkeypatch.setenv(ALLOWED, str(need.fixed + 20 * need.per_sample))
    command = ("compile", files.model, "--calib", files.calib, "-o", tmp_path / "o", "--timesteps",
               4, "--samples")  # fmt: skip
    error = fails(*command, 48)
    assert "calibration on 48 samples and 4 steps needs about" in error
    samples = re.search(r"hint: --samples (\d+), or a machine", error).group(1)
    assert samples == "20"
    assert not (tmp_path / "o").exists()
    assert cli(*command, samples)[0] == 0


def test_blocks_are_as_large_as_fits_and_give_the_same(files, as_json, graph, monkeypatch):
    sizes = []
    original = check.fitting

    def noted(*arguments):
        sizes.append(original(*arguments))
        return sizes[-1]

    monkeypatch.setattr("spikec.driver.blocks.fitting", noted)
    for engine in ("fast", "reference"):
        command = ("run", files.out, "--data", files.test, "--engine", engine)
        monkeypatch.delenv(ALLOWED, raising=False)
        want = as_json(*command)
        monkeypatch.setenv(ALLOWED, room_for(graph, 7, engine))
        assert as_json(*command) == want
        assert sizes[-1] == 7
        assert sizes[-2] > 7


@pytest.mark.parametrize("command", ["run", "eval", "check", "trace"])
def test_a_sample_that_does_not_fit_is_refused(files, fails, graph, monkeypatch, tmp_path, command):
    monkeypatch.setattr("spikec.runtime.data.budget", lambda: 1 << 40)  # the data do fit
    monkeypatch.setenv(ALLOWED, "1000")
    more = ("-o", tmp_path / "t") if command == "trace" else ()
    error = fails(command, files.out, "--data", files.test, *more)
    assert re.search(r"of one sample needs about [\d.]+ KiB of memory, of which 1e\+03 B", error)
    assert "hint: " in error
    assert list(tmp_path.iterdir()) == []


def test_data_that_do_not_fit_are_refused(files, fails, cli, monkeypatch):
    monkeypatch.setattr("spikec.runtime.data.budget", lambda: 5000)
    error = fails("run", files.out, "--data", files.test)
    assert "its arrays take 14,464 bytes, of which 5,000 can be read" in error
    assert "hint: save x as .npy" in error
    assert cli("run", files.out, "--data", files.unlabelled)[0] == 0


def test_traces_that_do_not_fit_are_refused(files, fails, graph, monkeypatch, tmp_path):
    monkeypatch.setattr("spikec.driver.evaluating.trace_bytes", lambda graph: 1 << 50)
    monkeypatch.setattr("spikec.runtime.golden.trace_bytes", lambda graph: 1 << 50)
    out = tmp_path / "t"
    assert "the traces of 48 samples need" in fails(
        "run", files.out, "--data", files.test, "--trace", "-o", tmp_path / "x.npz"
    ).replace("needs", "need")
    assert "hint: --limit N" in fails(
        "trace", files.out, "--data", files.test, "-o", out, "--arrays", "--limit", 2
    )
    assert list(tmp_path.iterdir()) == []


def test_what_is_held_at_once(graph):
    """Of a chain two values at a time, and what a branch or an output keeps."""
    chain = spikec.ir.parse("""
graph @g <stage=ann, steps=0> {
  %x : f32[10] = input() from "x"
  %a : f32[10] = relu(%x)
  %b : f32[10] = relu(%a)
  %c : f32[10] = relu(%b)
  return %c
}""")
    assert held_elements(chain) == 20
    skip = spikec.ir.parse(chain.to_text().replace("relu(%b)", "add(%b, %x)"))
    assert held_elements(skip) == 30
    assert held_elements(graph) >= max(node.type.size for node in graph.nodes)
