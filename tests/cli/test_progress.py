"""Progress where nothing can be drawn over."""

import pytest

from spikec import ui


@pytest.fixture
def clock(monkeypatch):
    """A clock that stands still until it is moved."""
    now = [100.0]
    monkeypatch.setattr(ui.time, "perf_counter", lambda: now[0])
    return now


def test_long_parts_say_how_fast_they_are_and_what_is_left(clock, capsys):
    with ui.Ui().progress() as report:
        for done in (10, 20, 60):
            clock[0] += 6.0
            report("simulate", done, 100)
        clock[0] += 2.0
        report("simulate", 100, 100)
    assert capsys.readouterr().err.splitlines() == [
        "simulate: 20 of 100, 1.667 a second, 48 s left",
        "simulate: 100, 5 a second",
    ]


def test_short_parts_say_that_they_are_done(clock, capsys):
    with ui.Ui().progress() as report:
        clock[0] += 30.0
        report("load", 5, 5)
        clock[0] += 1.0
        report("simulate", 50, 100)
        report("simulate", 100, 100)
        report("simulate", 100, 100)
    assert capsys.readouterr().err.splitlines() == ["load: 5, 0.1667 a second", "simulate: 100"]
