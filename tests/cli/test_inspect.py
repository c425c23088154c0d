"""`inspect`, `opt` and the lists."""

import onnx
import pytest
from onnx import helper


def test_inspect(files, as_json):
    for path, resources in ((files.model, False), (files.out, True)):
        found = as_json("inspect", path)
        assert {"supported", "unsupported", "operators", "layers", "resources"} <= set(found)
        assert found["supported"] is True
        assert found["operators"] == {"Conv": 2, "Relu": 2, "Add": 1, "MaxPool": 1, "Flatten": 1,
                                      "Gemm": 1}  # fmt: skip
        assert (found["resources"] is not None) == resources


def test_inspect_of_an_unsupported_model(as_json, cli, tmp_path, model_of):
    onnx.save(
        model_of([helper.make_node("LRN", ["x"], ["y"], "norm", size=3)]), tmp_path / "m.onnx"
    )
    found = as_json("inspect", tmp_path / "m.onnx", code=1)
    assert found["supported"] is False
    assert cli("inspect", tmp_path / "m.onnx", "-q") == (1, "not supported\n", "")
    (refusal,) = found["unsupported"]
    assert set(refusal) == {"node", "op", "reason", "hint"}
    assert (refusal["node"], refusal["op"]) == ("norm", "LRN")


def test_opt(cli, tmp_path, graph_text):
    (tmp_path / "g.spk").write_text(graph_text)
    code, out, err = cli("opt", tmp_path / "g.spk", "--verify-roundtrip")
    assert (code, out, err) == (0, graph_text, "")
    code, out, _ = cli("opt", tmp_path / "g.spk", "--no-values")
    assert "param @c.w : i8[2,1,2,2]\n" in out


@pytest.mark.parametrize("command", ["passes", "targets", "ops"])
def test_lists(command, cli, as_json):
    found = as_json(command)
    assert all(row["name"] and row["doc"] for row in found[command])
    code, out, err = cli(command)
    assert code == 0
    assert found[command][0]["name"] in out + err


def test_text_with_an_error(fails, tmp_path):
    (tmp_path / "g.spk").write_text("graph @g <stage=ann, steps=0> {\n  %x : f32[2] = input(\n}")
    assert "g.spk:3:1: expected" in fails("opt", tmp_path / "g.spk")
    (tmp_path / "g.spk").write_bytes(b"\xff\xfe\x00")
    assert "g.spk" in fails("opt", tmp_path / "g.spk")
    assert "g.spk" in fails("inspect", tmp_path / "g.spk")
