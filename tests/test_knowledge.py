"""Knowledge has one place: nothing outside names a neuron, and few places ask an op its name."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from spikec.ir.ops import OPS
from spikec.ir.ops.neurons import neurons

NEURONS = neurons()
ROOT = Path(__file__).parents[1]
TABLES = {
    "runtime/fast/scans.py",
    "backends/onnx/layers.py",
    "backends/lava/processes.py",
    "backends/nir/nodes.py",
    "backends/lowering/neurons.py",
    "backends/c/rules.py",
    "backends/verilog/cells.py",
}
"""The engines' tables: the only modules outside ir/ops that know neurons by class."""
EMITTED = "backends/lava/project"
"""What is written into Lava projects, which do not know spikec."""


def modules() -> Iterator[tuple[str, ast.Module]]:
    """All modules of the package outside ir/ops, by their path from the root."""
    for room in ("ir", "compiler", "runtime", "backends", "src/spikec"):
        for path in sorted((ROOT / room).rglob("*.py")):
            name = path.relative_to(ROOT).as_posix()
            linked = any(parent.is_symlink() for parent in path.parents)
            if not linked and not name.startswith(("ir/ops/", EMITTED)):
                yield name, ast.parse(path.read_text(encoding="utf-8"))


def words(tree: ast.Module) -> Iterator[tuple[int, str]]:
    """Names and string constants of a module, docstrings left out."""
    docs = {
        id(node.body[0].value)
        for node in ast.walk(tree)
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef)
        and node.body
        and isinstance(node.body[0], ast.Expr)
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.Name):
            yield node.lineno, node.id
        elif isinstance(node, ast.Attribute):
            yield node.lineno, node.attr
        elif isinstance(node, ast.alias):
            yield node.lineno, node.name
        elif (
            isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in docs
        ):
            yield node.lineno, node.value


@pytest.mark.parametrize("name", sorted(NEURONS))
def test_no_module_outside_the_tables_names_a_neuron(name):
    known = {name, NEURONS[name].__name__}
    places = [
        f"{module}:{line}"
        for module, tree in modules()
        if module not in TABLES
        for line, word in words(tree)
        if word in known or word.endswith(f".{name}")
    ]
    assert not places, f"these know {name}: {', '.join(places)}"


def test_few_places_ask_for_an_op_by_its_name():
    """`node.op == "conv"` and the like; the class says it with a type: isinstance, match."""
    places = [
        f"{module}:{node.lineno} {ast.unparse(node)}"
        for module, tree in modules()
        for node in ast.walk(tree)
        if isinstance(node, ast.Compare)
        and any(isinstance(part, ast.Attribute) and part.attr == "op" for part in ast.walk(node))
        and any(isinstance(part, ast.Constant) and part.value in OPS for part in ast.walk(node))
    ]
    assert len(places) < 20, "\n".join(places)


def test_tables_exist():
    assert all((ROOT / table).is_file() for table in TABLES)
