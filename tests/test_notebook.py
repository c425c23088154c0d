"""What a notebook shows of an artifact and does with it."""

import sys

import numpy as np
import pytest

import spikec
from spikec.ir import Param, same_values


@pytest.fixture(scope="module")
def art(tiny_onnx, tiny_data):
    return spikec.compile(tiny_onnx(), tiny_data, timesteps=4, samples=32)


@pytest.fixture(scope="module")
def labels(tiny_data):
    return np.arange(len(tiny_data)) % 3


def test_an_artifact_is_one_line_and_a_card(art):
    assert repr(art) == ("<spikec.Artifact tiny: T = 4, 4 layers, 327 neurons, target numpy>")
    html = art._repr_html_()
    assert html.count('class="card ') == 4
    assert "neurocores" in html
    assert "body {" not in html, "styles of the page would change the notebook"


def test_evaluate_is_kept_in_the_report(art, tiny_data, labels):
    evaluation = art.evaluate(tiny_data, labels, timesteps=[2, 4])
    assert [r.timesteps for r in evaluation.results] == [2, 4]
    assert evaluation.ann_accuracy is not None, "the ANN is at hand"
    accuracy = (art.run(tiny_data).argmax(axis=1) == labels).mean()
    assert evaluation.results[-1].accuracy == pytest.approx(accuracy)
    assert art.report.evaluations == [evaluation]
    assert "accuracy at T = 4" in art._repr_html_()


def test_traces_have_spikes_and_potentials_of_each_layer(art, tiny_data):
    traces = art.trace(tiny_data[:3])
    assert list(traces) == ["relu1", "relu2", "pool2", "gemm.out"]
    assert traces["relu1"].spikes.shape == traces["relu1"].potentials.shape == (4, 3, 4, 6, 6)
    assert traces["gemm.out"].spikes is None


def test_the_ann_is_compared_layer_by_layer(art, tiny_data):
    table = art.compare(tiny_data)
    assert [row.layer for row in table] == ["relu1", "relu2", "gemm.out"]
    by_name = {row.layer: row for row in table}
    assert 0 <= by_name["relu1"].float_error < 0.5
    assert by_name["relu1"].correlation > 0.8
    assert "float_error" in repr(table).splitlines()[0]
    assert table._repr_html_().count("<tr>") == 4


def test_compare_gives_a_data_frame_where_pandas_is(art, tiny_data, monkeypatch):
    table = art.compare(tiny_data[:4])
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(spikec.UsageError, match="pandas is not installed"):
        table.to_pandas()


def test_a_loaded_artifact_is_told_its_model(art, tiny_onnx, tiny_data, tmp_path):
    art.save(tmp_path / "out")
    loaded = spikec.load(tmp_path / "out")
    with pytest.raises(spikec.UsageError, match="compare needs the ANN"):
        loaded.compare(tiny_data)
    assert loaded.compare(tiny_data, model=tiny_onnx()).rows == art.compare(tiny_data).rows
    with pytest.raises(spikec.UsageError, match="compiled from another model"):
        loaded.compare(tiny_data, model=tiny_onnx(seed=5))


def test_rasters_and_the_page(art, tiny_data, tmp_path):
    assert len(art.plot_raster().axes) >= 2
    assert len(art.plot_raster(tiny_data, sample=3).axes) >= 3
    page = art.page()
    assert page.startswith("<!doctype html>")
    assert "&lt;!doctype html" in page._repr_html_()
    page.save(tmp_path / "page.html")
    assert (tmp_path / "page.html").read_text() == page


def test_an_edited_graph_runs_and_is_saved(art, tiny_data, tmp_path):
    name = art.graph["relu1"].params["theta"]
    theta = art.graph.params[name]
    doubled = art.graph.with_params({name: Param.of(theta.array * 2, theta.type.dtype)})
    edited = spikec.Artifact.from_graph(doubled)
    assert not (edited.run(tiny_data) == art.run(tiny_data)).all()
    assert edited.check(tiny_data[:4])["equal"]
    edited.save(tmp_path / "edited")
    assert sorted(p.name for p in (tmp_path / "edited").iterdir()) == [
        "graph.spk", "manifest.json", "report.json", "weights.npz"
    ]  # fmt: skip
    loaded = spikec.load(tmp_path / "edited")
    assert same_values(loaded.graph, doubled)
    with pytest.raises(spikec.UsageError, match="has no float network"):
        loaded.run(tiny_data, stage="float")
    with pytest.raises(spikec.UsageError, match="needs a graph of stage int, not snn"):
        spikec.Artifact.from_graph(art.stage("float"))
