"""How the modules stand to each other: none imports in a circle, `Any` is rare."""

import ast
import dataclasses
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import networkx as nx

PACKAGE = Path(__file__).parents[1] / "src" / "spikec"
PAGE = Path(__file__).parents[1] / "docs" / "architecture.md"
PROJECT = "spikec.backends.lava.project"
"""What is written into Lava projects imports its own modules without a package."""
MOST_ANY = 9.0
"""`Any` per thousand lines; where a library gives no types, or JSON may hold anything."""


@dataclasses.dataclass(frozen=True)
class Module:
    """A module of the package: its file is reached through the links of `src/spikec`."""

    name: str
    text: str
    tree: ast.Module


@cache
def modules() -> dict[str, Module]:
    """All modules of the package by their names; examples stand alone."""
    found = {}
    for folder in _packages(PACKAGE):
        for path in sorted(folder.glob("*.py")):
            parts = path.relative_to(PACKAGE.parent).with_suffix("").parts
            name = ".".join(parts).removesuffix(".__init__")
            text = path.read_text(encoding="utf-8")
            found[name] = Module(name, text, ast.parse(text))
    return found


def _packages(folder: Path) -> Iterator[Path]:
    yield folder
    for inner in sorted(folder.iterdir()):
        if (inner / "__init__.py").exists():
            yield from _packages(inner)


def imported(module: Module) -> Iterator[str]:
    """What a module imports of the package, anywhere in it, also for type checkers alone."""
    for node in ast.walk(module.tree):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        else:
            continue
        for name in names:
            full = name if name.startswith("spikec") else f"{PROJECT}.{name}"
            home = full if full in modules() else full.rpartition(".")[0]
            if home in modules() and home not in (module.name, PROJECT):
                yield home


def test_no_import_goes_in_a_circle():
    graph = nx.DiGraph(
        (module.name, other) for module in modules().values() for other in imported(module)
    )
    assert len(graph) > 250
    assert graph.has_edge("spikec.ir.graph", "spikec.ir.types")
    circles = [sorted(group) for group in nx.strongly_connected_components(graph) if len(group) > 1]
    assert not circles, circles


def test_any_is_rare():
    lines = sum(module.text.count("\n") for module in modules().values())
    uses = {
        module.name: sum(
            isinstance(node, ast.Name) and node.id == "Any" for node in ast.walk(module.tree)
        )
        for module in modules().values()
    }
    share = 1000 * sum(uses.values()) / lines
    most = sorted(uses, key=uses.__getitem__)[-5:]
    assert share < MOST_ANY, f"{share:.1f} per 1,000 lines, most of them in {', '.join(most)}"


def rooms() -> dict[str, set[str]]:
    """Rooms of the page on architecture, and which others each imports."""
    rows = re.findall(r"^\| `([\w.]+)` \| .* \| (.*) \|$", PAGE.read_text(), re.MULTILINE)
    return {room: set(re.findall(r"`([\w.]+)`", others)) for room, others in rows}


def test_the_page_on_architecture_says_who_imports_whom():
    said = rooms()

    def room_of(name: str) -> str:
        inner = name.removeprefix("spikec").removeprefix(".")
        fitting = [room for room in said if f"{inner}.".startswith(f"{room}.")]
        return max(fitting, key=len, default="")

    found: dict[str, set[str]] = {room: set() for room in said}
    for module in modules().values():
        room = room_of(module.name)
        for other in imported(module):
            if room and room_of(other) and room_of(other) != room:
                found[room].add(room_of(other))
    assert found == said
    assert nx.is_directed_acyclic_graph(nx.DiGraph(found))
    homeless = {name for name in modules() if not room_of(name)}
    assert homeless == {"spikec", "spikec.__main__", "spikec.demo", "spikec.lazy",
                        "spikec.version"}  # fmt: skip
