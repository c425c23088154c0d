"""The names that users may rely on, and nothing more."""

import re
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import pytest

import spikec
import spikec.ir


def test_names_of_spikec():
    assert sorted(spikec.__all__) == [
        "Artifact", "BackendError", "InvalidArtifact", "InvalidData", "InvalidGraph",
        "InvalidModel", "Options", "ParseError", "PassError", "RangeError", "SpikecError",
        "UnsupportedOperator", "UsageError", "__version__", "compile", "ir", "load",
    ]  # fmt: skip


def test_names_of_spikec_ir():
    assert sorted(spikec.ir.__all__) == [
        "BackendError", "DType", "F32", "F64", "Graph", "GraphBuilder", "InvalidArtifact",
        "InvalidData", "InvalidGraph", "InvalidModel", "Node", "OPS", "Param", "ParseError",
        "PassError",
        "RangeError", "SPIKE", "SpikecError", "TensorType", "UnsupportedOperator", "UsageError",
        "op_of", "parse", "read_spk", "remove_dead", "same_values", "signed", "spread", "to_text",
        "unique_name", "unsigned", "verify",
    ]  # fmt: skip


@pytest.mark.parametrize("module", [spikec, spikec.ir])
def test_all_names_exist(module):
    assert all(hasattr(module, name) for name in module.__all__)
    assert len(set(module.__all__)) == len(module.__all__)


def test_every_error_is_a_spikec_error():
    errors = [
        value for name in spikec.__all__
        if isinstance(value := getattr(spikec, name), type) and issubclass(value, Exception)
    ]  # fmt: skip
    assert len(errors) == 11
    assert all(issubclass(error, spikec.SpikecError) for error in errors)
    assert all(getattr(spikec.ir, error.__name__) is error for error in errors)


def test_public_things_are_documented():
    for module in (spikec, spikec.ir):
        for name in module.__all__:
            value = getattr(module, name)
            if callable(value):
                assert (value.__doc__ or "").strip(), name


def test_version():
    assert spikec.__version__ == version("spikec")
    assert re.fullmatch(r"\d+\.\d+\.\d+.*", spikec.__version__)


def test_it_is_typed():
    assert (Path(spikec.__file__).parent / "py.typed").is_file()


def test_importing_does_not_import_lava_and_prints_nothing():
    code = "import sys, spikec, spikec.cli; assert 'lava' not in sys.modules"
    done = subprocess.run([sys.executable, "-W", "error", "-c", code], capture_output=True,
                          text=True, check=False)  # fmt: skip
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
