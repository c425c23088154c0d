"""The versioned golden traces: every engine meets them, and they stay as they are."""

from pathlib import Path

import msgspec
import pytest

from spikec.backends import BACKENDS, engine
from spikec.driver import differences
from spikec.runtime import golden

TRACES = Path(__file__).parent / "traces"
FOLDERS = sorted(path for path in TRACES.iterdir() if golden.is_trace(path))


def test_there_are_traces():
    assert [path.name for path in FOLDERS] == ["joins", "pools", "routes"]


@pytest.mark.parametrize("name", ["reference", "fast"])
@pytest.mark.parametrize("folder", FOLDERS, ids=lambda path: path.name)
def test_engines_meet_the_golden_traces(folder, name):
    (found,) = differences.verify_traces(folder, name)
    assert found["equal"], found["first_difference"]
    assert found["same_network"]


@pytest.mark.lava
@pytest.mark.slow
@pytest.mark.skipif(BACKENDS["lava"]().unavailable() is not None, reason="no Lava here")
@pytest.mark.parametrize("folder", FOLDERS, ids=lambda path: path.name)
def test_lava_meets_the_golden_traces(folder):
    (found,) = differences.verify_traces(folder, "lava")
    assert found["equal"], found["first_difference"]


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda path: path.name)
def test_writing_them_again_gives_the_same_hashes(folder, tmp_path):
    trace, graph, feeds = golden.load(folder)
    again = golden.write(tmp_path, graph, feeds, engine("fast"), arrays=True)
    assert again["layers"] == msgspec.to_builtins(trace.layers)
    assert again["network"] == trace.network
    assert (tmp_path / "graph.spk").read_bytes() == (folder / "graph.spk").read_bytes()
