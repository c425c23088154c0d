"""Every figure of a target has a source and says how far to trust it; files override them."""

import json
import pickle
import sys

import pytest

from spikec.ir import UsageError
from spikec.ir.hardware import FIGURES, LOIHI2, SPECS, STATUSES, HardwareSpec, read_spec

toml = pytest.mark.skipif(sys.version_info < (3, 11), reason="tomllib")


@pytest.mark.parametrize("spec", SPECS.values(), ids=SPECS)
def test_every_figure_says_where_it_comes_from(spec):
    rows = spec.describe()
    assert [row["figure"] for row in rows] == list(FIGURES)
    for row in rows:
        assert row["status"] in STATUSES
        assert row["source"]
        assert (row["value"] is None) <= (row["status"] == "assumed")
    assert set(spec.provenance) >= {n for n, v in spec.figures.items() if v is not None}


def test_no_public_limit_is_invented():
    assert LOIHI2.axons_in_per_core is None
    assert LOIHI2.fan_in is None
    assert LOIHI2.provenance["cores_per_chip"].status == "second-hand"


def test_specs_are_values():
    assert pickle.loads(pickle.dumps(LOIHI2)) == LOIHI2
    assert HardwareSpec("loihi2") != LOIHI2


def test_a_json_file_overrides(tmp_path):
    path = tmp_path / "board.json"
    axons = {"value": 4096, "source": "a user", "status": "second-hand"}
    figures = {"cores_per_chip": 120, "axons_in_per_core": axons, "neurons_per_core": 0}
    path.write_text(json.dumps({**figures, "synapses_per_chip": "unknown"}))
    spec = read_spec(path, LOIHI2)
    assert (spec.name, spec.cores_per_chip, spec.axons_in_per_core) == ("board", 120, 4096)
    assert spec.synapses_per_chip is spec.neurons_per_core is None
    assert spec.provenance["cores_per_chip"].status == "assumed"
    assert spec.provenance["cores_per_chip"].source == "board.json"
    assert spec.provenance["axons_in_per_core"].source == "a user"
    assert spec.provenance["max_delay"] == LOIHI2.provenance["max_delay"]


@toml
def test_a_toml_file_overrides(tmp_path):
    path = tmp_path / "board.toml"
    path.write_text('name = "mine"\nbase = "loihi2"\nweight_bits = 6\n[fan_in]\nvalue = 64\n'
                    'source = "measured"\nstatus = "official"\n')  # fmt: skip
    spec = read_spec(path, HardwareSpec("other"))
    assert (spec.name, spec.weight_bits, spec.fan_in) == ("mine", 6, 64)
    assert spec.cores_per_chip == LOIHI2.cores_per_chip
    assert spec.provenance["fan_in"].status == "official"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "input data was truncated"),
        ("[]", "expected object, got array"),
        ("[" * 1000, "nested more than 32 deep"),
        ('{"cores": 1}', "unknown figure 'cores'"),
        ('{"fan_in": -1}', "above 0"),
        ('{"fan_in": true}', "fan_in: value: expected int | str, got bool"),
        ('{"weight_bits": 9}', "2 to 8"),
        ('{"fan_in": {"value": 1, "status": "sure"}}', "fan_in: status: invalid enum value 'sure'"),
        ('{"fan_in": {"source": "x"}}', "fan_in: object missing required field value"),
        ('{"base": "x"}', "unknown base"),
        ('{"name": 1}', "name: expected str | null, got int"),
    ],
)
def test_bad_files(tmp_path, text, message):
    path = tmp_path / "bad.json"
    path.write_text(text)
    with pytest.raises(UsageError) as error:
        read_spec(path, LOIHI2)
    assert str(error.value).startswith(str(path))
    assert message in str(error.value)


def test_a_missing_file(tmp_path):
    with pytest.raises(UsageError, match="no such file"):
        read_spec(tmp_path / "none.toml", LOIHI2)
