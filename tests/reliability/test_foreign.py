"""Damaged files are read, or end in one error that names the file."""

from __future__ import annotations

import json
import math
import shutil
from pathlib import Path

import foreign
import pytest
from damage import damaged_json
from foreign import Reader, attempt, campaign, make_world, readers

from spikec.ir import ParseError, parse, reading


@pytest.fixture(scope="module")
def world(tmp_path_factory, tiny_onnx, tiny_data) -> Path:
    return make_world(tmp_path_factory.mktemp("foreign") / "template", tiny_onnx(), tiny_data[:16])


def test_the_files_themselves_are_read(world):
    for reader in readers(world, pages=True):
        assert attempt(reader, world) == ("read", ""), reader.file


def test_damaged_files(world):
    """Some 700 variants; the campaign has as many as one wants."""
    tally = campaign(world, seed=0, end=math.inf, most=25)
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
