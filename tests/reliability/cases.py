"""Cases as files: a graph as text with its values, and its inputs as JSON beside it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from graphs import Case

from spikec.ir import parse, verify
from spikec.ir.errors import SpikecError

FOLDER = Path(__file__).parent / "cases"


def save(case: Case, path: Path, what: str) -> None:
    """Write `path`.spk and `path`.json, which says what was wrong."""
    feeds = {name: x.tolist() for name, x in case.feeds.items()}
    path.with_suffix(".spk").write_text(case.graph.to_text(values=True), encoding="utf-8")
    text = json.dumps({"what": what, "feeds": feeds})
    path.with_suffix(".json").write_text(text + "\n", encoding="utf-8")


def load(path: Path) -> Case:
    """Read a case; raises a SpikecError where its graph is refused."""
    graph = verify(parse(path.with_suffix(".spk").read_text(encoding="utf-8")))
    feeds = {
        node.name: np.array(note(path)["feeds"][node.name], np.int64).reshape(-1, *node.type.shape)
        for node in graph.inputs
    }
    return Case(graph, feeds)


def note(path: Path) -> dict[str, Any]:
    """What is said of a case."""
    found: dict[str, Any] = json.loads(path.with_suffix(".json").read_text(encoding="utf-8"))
    return found


def names() -> list[str]:
    """All cases that were found."""
    return sorted(path.stem for path in FOLDER.glob("*.spk"))


def sound(name: str) -> Case | None:
    """A case, or None where its graph is refused for the reason that it should be."""
    refused = note(FOLDER / name).get("refused")
    try:
        case = load(FOLDER / name)
    except SpikecError as error:
        if refused is None or refused not in str(error):
            raise
        return None
    if refused is not None:
        raise AssertionError(f"{name} is not refused: {refused}")
    return case
