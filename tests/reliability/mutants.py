"""Faults that are put into the compiler on purpose, and whether the quick tests notice.

    python tests/reliability/mutants.py --minutes 30 --seed 1 --out found/

A mutant changes one operator, bound, constant or branch of a module in compiler/, ir/ or runtime/,
in a copy of the project. It is killed if a quick test of its package fails. Writes all mutants into
--out/mutants.json. Those in `mutants.json` beside this file once survived, and come first.
"""

from __future__ import annotations

import argparse
import ast
import copy
import json
import os
import random
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from itertools import chain
from pathlib import Path

ROOT = Path(__file__).parents[2]
PACKAGES = ("compiler", "ir", "runtime")
TESTS = {
    "compiler/onnx": ("tests/onnx",),
    "compiler/calibration": ("tests/compiler/calibration", "tests/test_layerwise.py"),
    "compiler/quantisation": ("tests/compiler/quantisation", "tests/compiler/test_golden.py"),
    "compiler/rewrites": ("tests/compiler/rewrites", "tests/onnx/test_rewrites.py"),
    "compiler/placement": ("tests/compiler/placement",),
    "compiler": ("tests/compiler/test_pipeline.py", "tests/compiler/test_golden.py"),
    "ir": ("tests/ir", "tests/test_docs_integer.py", "tests/runtime/test_interpreter.py"),
    "runtime/fast": ("tests/runtime/test_fast.py", "tests/reliability/test_engines.py"),
    "runtime": ("tests/runtime", "tests/test_golden_traces.py"),
}
"""Quick tests of a folder; the longest name that fits counts."""
COMPILED = ("runtime/fast/", "runtime/kernels.py")
"""Modules that other modules' compiled code holds, too: caches know nothing of it."""
SURVIVORS = Path(__file__).with_suffix(".json")
SWAPS: dict[type[ast.AST], type[ast.AST]] = {
    ast.Lt: ast.LtE, ast.LtE: ast.Lt, ast.Gt: ast.GtE, ast.GtE: ast.Gt, ast.Eq: ast.NotEq,
    ast.NotEq: ast.Eq, ast.Is: ast.IsNot, ast.IsNot: ast.Is, ast.In: ast.NotIn, ast.NotIn: ast.In,
    ast.Add: ast.Sub, ast.Sub: ast.Add, ast.Mult: ast.Div, ast.Div: ast.Mult,
    ast.FloorDiv: ast.Mult, ast.Mod: ast.FloorDiv, ast.LShift: ast.RShift, ast.RShift: ast.LShift,
    ast.BitAnd: ast.BitOr, ast.BitOr: ast.BitAnd, ast.Pow: ast.Mult, ast.And: ast.Or,
    ast.Or: ast.And, ast.USub: ast.UAdd,
}  # fmt: skip
NAMES = {"min": "max", "max": "min", "minimum": "maximum", "maximum": "minimum", "any": "all",
         "all": "any", "floor": "ceil", "ceil": "floor", "argmax": "argmin"}  # fmt: skip


@dataclass(frozen=True)
class Mutant:
    """One change.

    Attributes:
        file: Of the module.
        old: What stands there.
        new: What stands there instead.
        line: Where, from 1; 0 where only the text says it.
        column: Of the line, in bytes.
    """

    file: str
    old: str
    new: str
    line: int = 0
    column: int = 0

    def apply(self, source: str) -> str:
        """The changed module."""
        lines = source.encode().splitlines(keepends=True)
        head = b"".join(lines[: max(self.line - 1, 0)])
        tail = source.encode()[len(head) + self.column :].decode()
        if self.old not in tail:
            raise SystemExit(f"{self.file}: {self.old} does not stand there any more")
        return source.removesuffix(tail) + tail.replace(self.old, self.new, 1)


def expressions(tree: ast.AST) -> Iterator[ast.AST]:
    """What a mutant may change: what is computed, not types, texts and errors."""
    for name, value in ast.iter_fields(tree):
        for node in value if isinstance(value, list) else [value]:
            if not isinstance(node, ast.AST) or name in ("annotation", "returns", "decorator_list"):
                continue
            if isinstance(node, ast.Raise | ast.JoinedStr | ast.Import | ast.ImportFrom):
                continue
            yield node
            yield from expressions(node)


def changes(node: ast.AST) -> Iterator[ast.AST]:
    """All that a node can be changed to."""
    made = copy.deepcopy(node)
    match made:
        case ast.Compare():
            for k, op in enumerate(made.ops):
                other = copy.deepcopy(made)
                other.ops[k] = swapped(op)
                yield other
        case ast.BinOp() | ast.BoolOp() | ast.UnaryOp(op=ast.USub()) if type(made.op) in SWAPS:
            made.op = swapped(made.op)
            yield made
        case ast.UnaryOp(op=ast.Not()):
            yield made.operand
        case ast.Constant(value=bool()):
            yield ast.Constant(not made.value)
        case ast.Constant(value=int() | float()):
            yield ast.Constant(made.value + 1)
        case ast.IfExp():
            made.body, made.orelse = made.orelse, made.body
            yield made
        case ast.Call(func=ast.Name(id=name)) if name in NAMES:
            made.func = ast.Name(NAMES[name])
            yield made
        case ast.Call(func=ast.Attribute(attr=name)) if name in NAMES:
            made.func.attr = NAMES[name]  # type: ignore[attr-defined]
            yield made


def swapped(op: ast.AST) -> ast.AST:
    """The operator in another's place."""
    return SWAPS[type(op)]()


def mutants(root: Path, file: Path) -> Iterator[Mutant]:
    """All changes of a module; branches are swapped by their conditions."""
    source = file.read_text(encoding="utf-8")
    tree = ast.parse(source)
    for node in expressions(tree):
        old = ast.get_source_segment(source, node)
        if old is None or not hasattr(node, "lineno"):
            continue
        if isinstance(node, ast.If | ast.While):
            test = ast.get_source_segment(source, node.test)
            if test is not None:
                place = node.test.lineno, node.test.col_offset
                yield Mutant(name_of(root, file), test, f"(not ({test}))", *place)
            continue
        for made in changes(node):
            place = node.lineno, node.col_offset
            yield Mutant(name_of(root, file), old, f"({ast.unparse(made)})", *place)


def name_of(root: Path, file: Path) -> str:
    """A module's file below the project."""
    return file.relative_to(root).as_posix()


def tests_of(file: str) -> tuple[str, ...]:
    """The quick tests of a module."""
    return TESTS[max((folder for folder in TESTS if file.startswith(folder)), key=len)]


def drawn(seed: int) -> Iterator[Mutant]:
    """Mutants without end: of a module as often as it is long."""
    draw = random.Random(seed)
    files = [file for name in PACKAGES for file in sorted((ROOT / name).rglob("*.py"))]
    lengths = [file.stat().st_size for file in files]
    while True:
        known = list(mutants(ROOT, *draw.choices(files, lengths)))
        if known:
            yield draw.choice(known)


def survives(mutant: Mutant, project: Path, patience: float) -> bool | None:
    """Whether the quick tests pass; None where they take too long."""
    file = project / "src" / "spikec" / mutant.file
    source, times = file.read_text(encoding="utf-8"), file.stat()
    environment = {**os.environ, "PYTHONPATH": str(project / "src"), "PYTHONDONTWRITEBYTECODE": "1"}
    with tempfile.TemporaryDirectory() as cache:
        if mutant.file.startswith(COMPILED):
            environment["NUMBA_CACHE_DIR"] = cache
        command = [sys.executable, "-m", "pytest", "-q", "-x", "-m", "not slow and not lava",
                   "-p", "no:cacheprovider", *tests_of(mutant.file)]  # fmt: skip
        try:
            file.write_text(mutant.apply(source), encoding="utf-8")
            done = subprocess.run(command, cwd=project, env=environment, capture_output=True,
                                  timeout=patience)  # fmt: skip
        except subprocess.TimeoutExpired:
            return None
        finally:
            file.write_text(source, encoding="utf-8")
            os.utime(file, ns=(times.st_atime_ns, times.st_mtime_ns))  # caches go by it
    if done.returncode not in (0, 1, 2):
        raise SystemExit(done.stdout.decode() + done.stderr.decode())
    return done.returncode == 0


def copied(folder: Path) -> Path:
    """The project, its packages as one, with the times of its files, which caches go by."""
    for name in ("src", "tests", "examples", "docs"):
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("node_modules"))
    for name in ("pyproject.toml", "README.md"):
        shutil.copy2(ROOT / name, folder / name)
    for name in (*PACKAGES, "backends"):
        (folder / name).symlink_to(f"src/spikec/{name}")
    return folder


def main() -> int:
    """Run; the exit status is 0: survivors are for people to look at."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--minutes", type=float, default=30.0, help="time budget")
    parser.add_argument("--mutants", type=int, default=10**6, help="stop after so many")
    parser.add_argument("--patience", type=float, default=600.0, help="seconds of tests")
    parser.add_argument("--seed", type=int, default=0, help="another one, other mutants")
    parser.add_argument("--out", type=Path, default=Path("found"), help="where the list goes")
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    end, tried = time.monotonic() + 60 * options.minutes, []
    once = [Mutant(**entry) for entry in json.loads(SURVIVORS.read_text(encoding="utf-8"))]
    with tempfile.TemporaryDirectory() as name:
        project = copied(Path(name) / "project")
        for mutant in chain(once, drawn(options.seed)):
            if time.monotonic() > end or len(tried) >= options.mutants:
                break
            alive = survives(mutant, project, options.patience)
            result = {None: "too long", True: "survived", False: "killed"}[alive]
            tried.append({**asdict(mutant), "result": result})
            print(f"{result}: {mutant.file}:{mutant.line} {mutant.old!r} -> {mutant.new!r}",
                  file=sys.stderr, flush=True)  # fmt: skip
            (options.out / "mutants.json").write_text(json.dumps(tried, indent=1) + "\n")
    results = [entry["result"] for entry in tried]
    print({kind: results.count(kind) for kind in ("killed", "survived", "too long")})
    return 0


if __name__ == "__main__":
    sys.exit(main())
