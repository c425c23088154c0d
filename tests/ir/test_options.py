"""Options in braces, and folders as registries."""

import sys
import types
from dataclasses import dataclass
from typing import Literal

import pytest

from spikec.ir import ParseError, SpikecError
from spikec.ir.options import (
    configure,
    describe_options,
    read_call,
    spell,
    split_list,
    suggestion,
)
from spikec.ir.registry import Registry


@dataclass(frozen=True)
class Thing:
    kind: Literal["a", "b"] = "a"
    size: int = 3
    share: float = 0.5
    sure: bool = False
    names: tuple[str, ...] = ()
    means: tuple[float, ...] = (0.5,)
    device: str | None = None


def made(text):
    return configure(Thing, *read_call(text, "thing"), "thing")


def test_a_list_is_split_outside_braces():
    assert split_list("a, b{x=1,y=2},,c{x=1 y=2}") == ["a", "b{x=1,y=2}", "c{x=1 y=2}"]


def test_options_have_the_types_of_their_fields():
    text = "thing{kind=b, size=4 share=1e-3,sure=true,names=x+y,means=1+2.5,device=ecp5-85k}"
    thing = made(text)
    assert thing == Thing("b", 4, 0.001, True, ("x", "y"), (1.0, 2.5), "ecp5-85k")
    assert made(spell("thing", thing)) == thing
    assert spell("thing", Thing()) == "thing"
    assert made("thing{device=none}").device is None


def test_options_come_out_of_json_as_well():
    values = {"kind": "b", "size": 4, "share": 1, "sure": True, "names": ["x"], "device": None}
    assert configure(Thing, "thing", values, "thing") == Thing("b", 4, 1.0, True, ("x",))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("thing{kind=c}", "option 'kind' of thing 'thing' must be one of a, b, not 'c'"),
        ("thing{size=3.5}", "option 'size' of thing 'thing' must be an integer, not '3.5'"),
        ("thing{share=x}", "option 'share' of thing 'thing' must be a number, not 'x'"),
        ("thing{means=1+x}", "option 'means' of thing 'thing' must be numbers joined by +, not"),
        ("thing{sure=1}", "option 'sure' of thing 'thing' must be true or false, not '1'"),
        ("thing{siz=4}", "thing 'thing' has no option 'siz'\n  hint: did you mean size?"),
        ("thing{x=4}", "has no option 'x'\n  hint: options: kind, size, share, sure, names, mean"),
        ("thing{kind}", "thing 'thing': 'kind' is not of the form option=value"),
        ("thing{kind=a", "options of thing 'thing' are not closed with '}'"),
    ],
)
def test_what_cannot_be_read_says_what_could(text, message):
    with pytest.raises(ParseError) as raised:
        made(text)
    assert message in str(raised.value)


def test_options_are_described_with_choices_and_defaults():
    described = describe_options(Thing)
    assert described == "kind=a|b, size=3, share=0.5, sure=false, names=, means=0.5, device=none"


def test_suggestions_are_close_or_none():
    assert suggestion("timestep", ["timesteps", "target"]) == "did you mean timesteps?"
    assert suggestion("zzz", ["timesteps", "target"]) is None


class Base:
    pass


def registry(monkeypatch, plugins=()):
    monkeypatch.setattr("spikec.ir.registry.entry_points", lambda group: plugins)
    return Registry("things", {}, Base, "thing")


def plugin(monkeypatch, name, **contents):
    module = types.ModuleType(f"plugin_{name}")
    vars(module).update(contents)
    monkeypatch.setitem(sys.modules, module.__name__, module)
    return types.SimpleNamespace(name=name, value=module.__name__)


def test_a_plugin_is_loaded_when_it_is_asked_for(monkeypatch):
    kind = type("Good", (Base,), {"__module__": "plugin_good"})
    things = registry(monkeypatch, [plugin(monkeypatch, "good", Good=kind)])
    assert list(things) == ["good"]
    assert things["good"] is kind
    assert kind.name == "good"


def test_a_broken_plugin_names_itself_and_ends_nothing_else(monkeypatch):
    broken = types.SimpleNamespace(name="broken", value="no_such_module")
    empty = plugin(monkeypatch, "empty")
    things = registry(monkeypatch, [broken, empty])
    assert list(things) == ["broken", "empty"]
    with pytest.raises(SpikecError, match="thing 'broken' cannot be loaded: ModuleNotFoundError"):
        things["broken"]
    with pytest.raises(SpikecError, match="must define exactly one Base, not 0"):
        things["empty"]
    with pytest.raises(KeyError):
        things["other"]
