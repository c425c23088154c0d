"""Damaged files are read, or end in one error that names the file."""

from __future__ import annotations

import json
import math
import os
import shutil
from pathlib import Path

import foreign
import models
import pytest
from damage import damaged_json, odd_files
from foreign import Reader, attempt, campaign, make_world, picture, readers
from within import within

from spikec.compiler.onnx import load_model
from spikec.driver.model import Model
from spikec.ir import InvalidArtifact, InvalidData, InvalidModel, ParseError, parse, reading
from spikec.runtime.images import Preparation, read_images


@pytest.fixture(scope="module")
def world(tmp_path_factory, tiny_onnx, tiny_data) -> Path:
    return make_world(tmp_path_factory.mktemp("foreign") / "template", tiny_onnx(), tiny_data[:16])


def test_the_files_themselves_are_read(world):
    for reader in readers(world, pages=True):
        assert attempt(reader, world) == ("read", ""), reader.file


def test_damaged_files(world):
    """Some 700 variants; the campaign has as many as one wants."""
    tally = campaign(world, seed=0, end=math.inf, most=8)
    assert tally.found == {}
    assert tally.tried > 500
    assert min(tally.refused.values()) > 5


def test_an_error_names_file_and_field(world, tmp_path):
    shutil.copytree(world, tmp_path / "w")
    manifest = tmp_path / "w" / "out" / "manifest.json"
    content = json.loads(manifest.read_text())
    manifest.write_text(json.dumps({**content, "target": {"name": 5, "options": {}}}))
    kind, told = attempt(readers(world, pages=False)[0], tmp_path / "w")
    assert (kind, told) == ("refused", f"{manifest}: target.name: expected str, got int")


def test_an_image_with_a_damaged_chunk_is_refused(tmp_path):
    file = tmp_path / "1.png"
    picture((1, 40, 40), file)
    content = file.read_bytes()
    at = content.index(b"IDAT")  # its length stands before it
    size = int.from_bytes(content[at - 4 : at], "big") - 20
    file.write_bytes(content[: at - 4] + size.to_bytes(4, "big") + content[at:])
    with pytest.raises(InvalidData, match="cannot be read as an image: broken PNG file"):
        read_images(tmp_path, (1, 40, 40), Preparation())


def test_an_error_says_what_the_library_found(tmp_path):
    (tmp_path / "x.npz").write_bytes(b"hello")
    with pytest.raises(InvalidArtifact, match=r"cannot be read as \.npz: File is not a zip file"):
        reading.read_npz(tmp_path / "x.npz")
    with pytest.raises(InvalidModel, match=r"not a valid ONNX model: .*(parsing|protobuf)"):
        load_model(b"hello")


def test_a_manifest_without_counterparts_is_read(world, tmp_path):
    shutil.copytree(world, tmp_path / "w")
    manifest = tmp_path / "w" / "out" / "manifest.json"
    content = json.loads(manifest.read_text())
    manifest.write_text(json.dumps({**content, "counterparts": None}))
    assert attempt(readers(world, pages=False)[0], tmp_path / "w") == ("read", "")


def test_a_batch_below_none_is_any(tiny_onnx, tiny_data):
    model = tiny_onnx()
    model.graph.input[0].type.tensor_type.shape.dim[0].dim_value = -7
    assert Model.load(model).batch == 0


@pytest.mark.parametrize("name", ["out/manifest.json", "out/graph.spk", "recipe.json", "x.npz",
                                  "x.npy", "traces/input.npz"])  # fmt: skip
def test_what_is_no_file_is_refused(world, tmp_path, name):
    """A pipe that says nothing, a device that never ends, links in a circle: none is waited for."""
    (reader,) = (reader for reader in readers(world, pages=False) if reader.file == name)
    for label, put in odd_files(tmp_path / "w" / name):
        shutil.rmtree(tmp_path / "w", ignore_errors=True)
        shutil.copytree(world, tmp_path / "w")
        (tmp_path / "w" / name).unlink()
        put()
        assert attempt(reader, tmp_path / "w")[0] == "refused", label


def test_a_model_or_an_image_that_is_a_pipe_is_refused(tmp_path):
    os.mkfifo(tmp_path / "net.onnx")
    os.mkfifo(tmp_path / "1.png")
    with within(5), pytest.raises(InvalidModel, match="is no file"):
        load_model(tmp_path / "net.onnx")
    with within(5), pytest.raises(InvalidData, match="is no file"):
        read_images(tmp_path, (1, 4, 4), Preparation())


def test_random_models() -> None:
    """Valid and damaged ones; the campaign has as many as one wants."""
    tally = models.Tally()
    models.campaign(range(2000, 2030), tally, math.inf)
    assert tally.found == {}
    assert tally.outcomes["valid: compiled"] > 1
    assert any(kind.startswith("damaged: imported") for kind in tally.outcomes)


@pytest.mark.parametrize("text", ["{" * 500, "graph @x <stage=int, steps=1> {" + "[" * 100_000])
def test_nested_text_is_refused_before_it_is_parsed(text):
    with pytest.raises(ParseError, match="nested more than 32 deep"):
        parse(text)


def test_text_that_is_too_long_is_refused(monkeypatch):
    monkeypatch.setattr("spikec.ir.text.TEXT", 100)
    with pytest.raises(ParseError, match="longer than 100 characters"):
        parse("graph @x <stage=int, steps=1> {" + " " * 100 + "}")


def test_brackets_in_strings_do_not_nest():
    assert reading.check_depth(b'"' + b"[" * 100 + b'"') is None
    assert reading.check_depth(rb'"\"' + b"[" * 100 + b'"') is None
    assert reading.check_depth(b"[]" * 100) is None
    assert reading.check_depth(b"[" * 32) is None
    assert reading.check_depth(b"[" * 33) is not None


def test_the_campaign_can_fail(world, tmp_path):
    """A reader without a schema is found out."""

    def by_hand(place: Path) -> object:
        return json.loads((place / "chip.json").read_text())["weight_bits"]["value"] + 1

    shutil.copytree(world, tmp_path / "w")
    found = []
    for _, content in damaged_json((world / "chip.json").read_bytes(), 0, 50):
        (tmp_path / "w" / "chip.json").write_bytes(content)
        found.append(attempt(Reader("chip.json", by_hand), tmp_path / "w")[0])
    assert "found" in found
    assert foreign.Tally().tried == 0
