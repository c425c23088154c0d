"""The documentation's code is run; its links, its op table and the citation file hold.

A comment before a fenced block says what becomes of it:

    <!-- run -->        runs here, in order, in one folder and one namespace per page
    <!-- run slow -->   the same, in the slow tests only; `<!-- run lava -->` needs Lava as well
    <!-- run board -->  the same in a shell, where compilers and qemu for boards are there
    <!-- run hdl -->    likewise, where simulators of hardware are there
    <!-- needs NAME --> cannot run here: Python is compiled, a command is left alone
    <!-- output -->     what the block before it prints: these lines in this order, others between
                        them; numbers may differ by a twentieth, `...` stands for any word

`python title="PATH"` is a file of the package: the page then runs in a process of its own, on a
copy of the package that holds the file.
"""

import contextlib
import dataclasses
import io
import math
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
PAGES = sorted(DOCS.rglob("*.md"))
EXAMPLES = ROOT / "examples"
RUNS = ("run", "run slow", "run lava", "run board", "run hdl")
BOARD_TOOLS = ("make", "arm-none-eabi-gcc", "qemu-system-arm")
HDL_TOOLS = ("make", "g++", "verilator", "iverilog")
BLOCK = re.compile(
    r'^(?:<!-- (?P<mark>[^>]+) -->\n)?```(?P<kind>\w+)(?: title="(?P<file>[^"]+)")?\n'
    r"(?P<code>.*?)^```$",
    re.MULTILINE | re.DOTALL,
)


@dataclasses.dataclass(frozen=True)
class Block:
    place: str
    kind: str
    mark: str
    file: str
    code: str


def blocks_of(page: Path) -> list[Block]:
    text = page.read_text(encoding="utf-8")
    return [
        Block(
            f"{page.relative_to(ROOT)}:{text.count(chr(10), 0, found.start('code')) + 1}",
            found["kind"],
            found["mark"] or "",
            found["file"] or "",
            found["code"],
        )
        for found in BLOCK.finditer(text)
    ]


def name_of(page: Path) -> str:
    return page.relative_to(DOCS).as_posix()


def with_marks(*marks: str) -> list[Path]:
    return [page for page in PAGES if any(block.mark in marks for block in blocks_of(page))]


# --- running --------------------------------------------------------------------------------------


def prepare(folder: Path) -> None:
    """The bundled networks and a few of the bundled images."""
    for name in ("fashion_resnet8", "fashion_qcfs_vgg"):
        shutil.copy(EXAMPLES / f"{name}.onnx", folder)  # pages write files of these names
    shutil.copy(EXAMPLES / "fashion_resnet8.onnx", folder / "model.onnx")
    with np.load(EXAMPLES / "fashion_mnist_small.npz") as images:
        np.savez(folder / "calib.npz", x=images["x_calib"][:48])
        np.savez(folder / "test.npz", x=images["x"][:64], y=images["y"][:64])


def commands(code: str) -> list[list[str]]:
    lines = code.replace("\\\n", " ").splitlines()
    return [words for line in lines if (words := shlex.split(line, comments=True))]


def run_block(block: Block, names: dict[str, object]) -> None:
    """Run a block in this process; a block that fails raises with its place."""
    from spikec.cli import main

    if block.kind == "python":
        padding = "\n" * (int(block.place.rpartition(":")[2]) - 1)
        exec(compile(padding + block.code, block.place, "exec"), names)
        return
    if block.mark in ("run board", "run hdl"):
        subprocess.run(["bash", "-euc", block.code], check=True, timeout=300)
        return
    for words in commands(block.code):
        assert words[0] == "spikec", f"{block.place}: only spikec is run, not {words[0]}"
        with pytest.raises(SystemExit) as done:
            main(words[1:])
        assert done.value.code == 0, f"{block.place}: {shlex.join(words)}"


def run_page(page: Path, marks: tuple[str, ...]) -> None:
    names: dict[str, object] = {"__name__": "__docs__"}
    printed = None
    for block in blocks_of(page):
        if block.mark == "output" and printed is not None:
            assert_printed(block, printed)
        elif block.mark in marks and not block.file:
            stream = io.StringIO()
            with contextlib.redirect_stdout(stream):
                run_block(block, names)
            printed = stream.getvalue()
            print(printed)
        elif block.mark != "output":
            printed = None


def assert_printed(block: Block, printed: str) -> None:
    lines = iter(printed.splitlines())
    for wanted in block.code.splitlines():
        assert any(is_like(line, wanted) for line in lines), (
            f"{block.place}: '{wanted}' is not printed, or not in this place:\n{printed}"
        )


def is_like(line: str, wanted: str) -> bool:
    """Whether a line has the words that are wanted, and numbers near those."""
    if wanted.strip() == "...":
        return True
    words, others = line.split(), wanted.split()
    return len(words) == len(others) and all(map(is_like_word, words, others))


def is_like_word(word: str, wanted: str) -> bool:
    if wanted in (word, "..."):
        return True
    numbers = [re.fullmatch(r"±?([\d.,]*\d)(\D*)", text) for text in (word, wanted)]
    if None in numbers:
        return False
    (value, unit), (near, same) = (number.groups() for number in numbers if number)
    close = math.isclose(*(float(text.replace(",", "")) for text in (value, near)), rel_tol=0.05)
    return unit == same and close


@pytest.mark.parametrize(
    ("printed", "wanted", "like"),
    [
        ("│ 4 │ 91.2% │ 0.00123 │", "│ 4 │ 92.0% │ ... │", True),
        ("│ 4 │ 91.2% │", "│ 4 │ 81.2% │", False),
        ("│ 4 │ 91.2% │", "│ 4 │ 91.2 │", False),
        ("a line of another length", "a line of another", False),
        ("first\nsecond", "second\nfirst", False),
        ("first\nsecond\nthird", "first\n...\nthird", True),
    ],
)
def test_outputs_are_compared(printed, wanted, like):
    block = Block("page", "text", "output", "", wanted)
    if like:
        assert_printed(block, printed)
    else:
        with pytest.raises(AssertionError, match="is not printed"):
            assert_printed(block, printed)


def overlay(page: Path, into: Path) -> None:
    """A package that links to this one and holds the files of a page as well."""
    files = {block.file: block.code for block in blocks_of(page) if block.file}
    opened = {str(folder) for file in files for folder in Path(file).parents}

    def link(source: Path, target: Path) -> None:
        target.mkdir(parents=True)
        for entry in source.iterdir():
            copy = target / entry.name
            if str(copy.relative_to(into / "spikec")) in opened:
                link(entry, copy)
            elif entry.name != "__pycache__":
                copy.symlink_to(entry.resolve())

    link(ROOT / "src" / "spikec", into / "spikec")
    for file, code in files.items():
        assert not (into / "spikec" / file).exists(), f"{page.name}: {file} is there already"
        (into / "spikec" / file).write_text(code, encoding="utf-8")


def run_extended(page: Path, folder: Path, marks: tuple[str, ...]) -> None:
    """The page in a process of its own, with the files that it adds to the package."""
    package = folder / "package"
    overlay(page, package)
    work = folder / "work"
    work.mkdir()
    prepare(work)
    done = subprocess.run(
        [sys.executable, __file__, str(page), *marks],
        cwd=work,
        env={**os.environ, "PYTHONPATH": str(package)},
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-4000:]


def run(page: Path, folder: Path, monkeypatch: pytest.MonkeyPatch, marks: tuple[str, ...]) -> None:
    if any(block.file for block in blocks_of(page)):
        run_extended(page, folder, marks)
        return
    prepare(folder)
    monkeypatch.chdir(folder)
    run_page(page, marks)


@pytest.mark.parametrize("page", with_marks("run"), ids=name_of)
def test_a_page_runs(page, tmp_path, monkeypatch):
    run(page, tmp_path, monkeypatch, ("run",))


@pytest.mark.slow
@pytest.mark.parametrize("page", with_marks("run slow"), ids=name_of)
def test_a_page_runs_with_its_slow_blocks(page, tmp_path, monkeypatch):
    run(page, tmp_path, monkeypatch, ("run", "run slow"))


@pytest.mark.slow
@pytest.mark.lava
@pytest.mark.parametrize("page", with_marks("run lava"), ids=name_of)
def test_a_page_runs_with_lava(page, tmp_path, monkeypatch):
    from spikec.backends import BACKENDS

    if (reason := BACKENDS["lava"]().unavailable()) is not None:
        pytest.skip(reason)
    run(page, tmp_path, monkeypatch, ("run", "run lava"))


@pytest.mark.parametrize("page", with_marks("run board"), ids=name_of)
def test_a_page_runs_on_a_board(page, tmp_path, monkeypatch):
    if missing := [tool for tool in BOARD_TOOLS if shutil.which(tool) is None]:
        pytest.skip(f"no {', '.join(missing)}")
    run(page, tmp_path, monkeypatch, ("run", "run board"))


@pytest.mark.parametrize("page", with_marks("run hdl"), ids=name_of)
def test_a_page_runs_in_simulators_of_hardware(page, tmp_path, monkeypatch):
    if missing := [tool for tool in HDL_TOOLS if shutil.which(tool) is None]:
        pytest.skip(f"no {', '.join(missing)}")
    run(page, tmp_path, monkeypatch, ("run", "run hdl"))


# --- what holds of every page ---------------------------------------------------------------------


@pytest.mark.parametrize("page", [*PAGES, ROOT / "README.md"], ids=lambda page: page.name)
def test_python_compiles_and_marks_are_known(page):
    for block in blocks_of(page):
        if block.kind == "python":
            compile(block.code, block.place, "exec")
        known = block.mark in ("", "output", *RUNS) or block.mark.startswith("needs ")
        assert known, f"{block.place}: unknown mark '{block.mark}'"


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_every_command_exists(page):
    """Also in blocks that are not run: command and options are those of the program."""
    import typer

    from spikec.cli.app import app

    known = {
        name: {option for param in command.params for option in param.opts + param.secondary_opts}
        for name, command in typer.main.get_command(app).commands.items()
    }
    for block in blocks_of(page):
        if block.kind != "bash":
            continue
        for words in commands(block.code):
            if words[0] != "spikec" or words[1] == "--version":
                continue
            given = {word.partition("=")[0] for word in words[2:] if re.match(r"--?[a-z]", word)}
            assert words[1] in known, f"{block.place}: {words[1]}"
            assert given <= known[words[1]] | {"--help"}, f"{block.place}: {shlex.join(words)}"


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_nested_lists_are_lists_on_the_site(page):
    text = re.sub(r"```.*?```", "", page.read_text(encoding="utf-8"), flags=re.DOTALL)
    flat = re.findall(r"^ {1,3}(?:[-*]|\d+\.) .*$", text, re.MULTILINE)
    assert not flat, f"{page.name}: indent by four: {flat[0]}"


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_links_lead_somewhere(page):
    text = re.sub(r"```.*?```|`[^`\n]*`", "", page.read_text(encoding="utf-8"), flags=re.DOTALL)
    for link in re.findall(r"\]\(([^)\s]+)\)", text):
        if not re.match(r"https?://|#", link):
            assert (page.parent / link.partition("#")[0]).exists(), f"{page.name}: {link}"


def test_the_navigation_names_pages():
    text = (ROOT / "mkdocs.yml").read_text(encoding="utf-8")
    named = re.findall(r": ([\w/]+\.md)$", text, re.MULTILINE)
    assert len(named) == len(set(named)) > 0
    assert {name_of(page) for page in PAGES} >= set(named)


def test_every_op_is_in_the_language_reference():
    from spikec.ir import OPS

    text = (DOCS / "ir.md").read_text(encoding="utf-8")
    rows = dict(re.findall(r"^\| `(\w+)` \|(.*)$", text, re.MULTILINE))
    for name, op in OPS.items():
        assert name in rows, name
        for role in (*op.schema(), *op.params):
            assert f"`{role}`" in rows[name], f"{name}: {role}"


def test_every_option_is_documented_with_its_default():
    from spikec.options import Options, about_of

    text = (DOCS / "api.md").read_text(encoding="utf-8")
    for field in dataclasses.fields(Options):
        flag = f"--{field.name.replace('_', '-')}"
        row = f"| `{field.name}` | `{field.default!r}` | `{flag}` | {about_of(field).text} |"
        assert row in text, row


def test_the_command_line_reference_is_made_from_the_program():
    from spikec.cli.reference import reference

    made = "python -m spikec.cli.reference > docs/cli.md"
    assert (DOCS / "cli.md").read_text(encoding="utf-8") == reference(), made


def test_every_key_of_the_json_is_documented():
    from spikec.report import schema

    text = (DOCS / "json.md").read_text(encoding="utf-8")
    kinds = [kind for kind in vars(schema).values() if dataclasses.is_dataclass(kind)]
    assert len(kinds) >= 13
    for kind in kinds:
        if kind is not schema.ProfiledLayer:  # of the page's pictures
            first = kind.__doc__.splitlines()[0]
            section = text[text.index(first) :].partition("\n## ")[0]
            for field in dataclasses.fields(kind):
                assert f"\n| `{field.name}` |" in section, f"{kind.__name__}: {field.name}"


def test_the_citation_file_names_this_version():
    version = re.search(r'^version = "(.+)"$', (ROOT / "pyproject.toml").read_text(), re.MULTILINE)
    citation = (ROOT / "CITATION.cff").read_text(encoding="utf-8")
    assert citation.startswith("cff-version: 1.2.0\n")
    assert f"\nversion: {version[1]}\n" in citation


if __name__ == "__main__":
    run_page(Path(sys.argv[1]), tuple(sys.argv[2:]))
