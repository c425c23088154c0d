"""What is asked for is loaded, and nothing else."""

import dataclasses
import inspect
import resource
import subprocess
import sys
from typing import get_type_hints

import pytest

import spikec
from spikec.options import Options, Settings

HEAVY = ("numpy", "numba", "onnx", "onnxruntime", "networkx", "lark", "matplotlib", "lava", "torch")
BARE = """
from typing import Annotated
import typer
app = typer.Typer(rich_markup_mode="rich")
@app.command()
def one(x: Annotated[int, typer.Option(help="A number.")] = 1): "One."
@app.command()
def two(x: Annotated[int, typer.Option(help="A number.")] = 1): "Two."
app()
"""


def loaded(code: str) -> set[str]:
    code += "\nimport sys; print(' '.join(sorted(sys.modules)))"
    done = subprocess.run([sys.executable, "-W", "error", "-c", code], capture_output=True,
                          text=True, check=True)  # fmt: skip
    assert done.stderr == ""
    return set(done.stdout.split())


@pytest.mark.parametrize("code", ["import spikec", "import spikec.cli", "import spikec.options"])
def test_importing_loads_nothing_heavy(code):
    assert loaded(code).isdisjoint(HEAVY)


def test_importing_a_name_loads_what_it_needs():
    assert "spikec.driver.compiling" in loaded("import spikec; spikec.compile")
    assert loaded("import spikec; spikec.load").isdisjoint({"numba", "onnxruntime", "matplotlib"})


def cpu_seconds(*command: str) -> float:
    """User and system time of a command, the least of three runs."""
    times = []
    for _ in range(3):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        subprocess.run([sys.executable, *command, "--help"], capture_output=True, check=True)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        times.append(after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime)
    return min(times)


def test_help_takes_at_most_twice_the_time_of_a_bare_application():
    assert cpu_seconds("-m", "spikec") <= 2 * cpu_seconds("-c", BARE)


def test_keywords_are_typed_as_the_options_are():
    kinds, keywords = get_type_hints(Options), get_type_hints(Settings)
    assert set(keywords) == {field.name for field in dataclasses.fields(Options)}
    lists = ("set", "shape", "metric", "frames")  # one may stand for a list of one
    assert all(keywords[name] == kinds[name] for name in keywords if name not in lists)


def test_the_signature_shows_all_options_with_their_defaults():
    shown = inspect.signature(spikec.compile).parameters
    for field in dataclasses.fields(Options):
        assert shown[field.name].default == field.default


@pytest.mark.parametrize(
    ("given", "hint"),
    [
        ({"T": 4}, "did you mean timesteps?"),
        ({"timestep": 4}, "did you mean timesteps?"),
        ({"bias": "on"}, "did you mean bias_correction?"),
        ({"qqq": 1}, "one of timesteps, target, "),
    ],
)
def test_unknown_keywords_get_suggestions(given, hint):
    with pytest.raises(spikec.UsageError, match="has no option") as raised:
        spikec.compile(b"", **given)
    assert raised.value.hint.startswith(hint)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"dni": "maybe"}, "dni must be one of on, half, off, not 'maybe'"),
        ({"timesteps": 0}, "timesteps must be at least 1, not 0"),
        ({"timesteps": 2.5}, "timesteps must be an integer or none, not '2.5'"),
        ({"weight_bits": 16}, "weight_bits must be at most 8, not 16"),
        ({"max_loss": 1.5}, r"max_loss must be from 0 up to 1 \(a share\), not 1.5"),
        ({"spikes": "graded", "code": "radix"}, "a radix code has binary spikes"),
        ({"payload_bits": 3}, "payload_bits=3 is for graded spikes"),
    ],
)
def test_values_that_an_option_cannot_take(given, message):
    with pytest.raises(spikec.UsageError, match=message):
        Options(**given)
