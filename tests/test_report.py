"""The report page: whole, alone, and with the figures of report.json."""

import json
import re
import shutil
import subprocess
from html.parser import HTMLParser

import numpy as np
import pytest

import spikec
from spikec.cli import main
from spikec.report.page import build
from spikec.report.schema import Report, from_json

VOID = {"meta", "br", "path", "use", "rect", "image"}


class Page(HTMLParser):
    """Checks that tags close in order, and keeps text, ids and references."""

    def __init__(self, text):
        super().__init__()
        self.open, self.text, self.ids, self.uses = [], [], [], []
        self.feed(text)
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        found = dict(attrs)
        self.ids += [found["id"]] if "id" in found else []
        for value in found.values():
            self.uses += re.findall(r"url\(#([^)]*)\)", value or "")
        for name in ("href", "xlink:href", "src"):
            if name in found:
                assert found[name].startswith(("#", "data:")), found[name]
                self.uses += [found[name][1:]] if found[name].startswith("#") else []
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.handle_starttag(tag, attrs)
        if tag not in VOID:
            self.open.pop()

    def handle_endtag(self, tag):
        if tag not in VOID:
            assert self.open.pop() == tag

    def handle_data(self, data):
        self.text.append(data)


@pytest.fixture(scope="module")
def out(tmp_path_factory, tiny_onnx, tiny_data):
    folder = tmp_path_factory.mktemp("report")
    art = spikec.compile(tiny_onnx(), calib=tiny_data, validation=tiny_data, timesteps=4,
                         samples=32)  # fmt: skip
    art.save(folder / "out")
    return folder / "out"


@pytest.fixture(scope="module")
def measured(out, tmp_path_factory, tiny_onnx, tiny_data):
    import onnx

    folder = tmp_path_factory.mktemp("measured")
    copy = folder / "out"
    shutil.copytree(out, copy)
    onnx.save(tiny_onnx(), folder / "m.onnx")
    np.savez(folder / "x.npz", x=tiny_data, y=np.arange(len(tiny_data)) % 3)
    data = ["--data", str(folder / "x.npz"), "-q"]
    for arguments in (
        ["eval", str(copy), *data, "--timesteps", "1,2,4", "--model", str(folder / "m.onnx")],
        ["check", str(copy), *data, "--limit", "3"],
        ["report", str(copy), "-q"],
    ):
        with pytest.raises(SystemExit) as ended:
            main(arguments)
        assert ended.value.code == 0
    return copy


def test_a_page_of_a_compiled_network_says_what_was_not_measured(out):
    page = Page(build(spikec.load(out).report))
    text = " ".join(page.text)
    assert "What to do next" in page.text
    assert "run `spikec eval` on this artifact" in text
    assert "run `spikec check` on this artifact" in text
    assert {"Network", "Calibration error", "Spike rates", "Provenance"} <= set(page.text)


def test_the_page_is_whole_and_its_figures_are_those_of_the_report(measured):
    report = json.loads((measured / "report.json").read_text())
    page = Page((measured / "report.html").read_text())
    assert "What to do next" not in page.text
    assert len(page.ids) == len(set(page.ids))
    assert set(page.uses) <= set(page.ids)
    text = " ".join(page.text)
    result = report["evaluations"][0]["results"][-1]
    assert f"{result['accuracy']:.1%}" in page.text
    assert f"the ANN's {report['evaluations'][0]['ann_accuracy']:.1%}" in text
    check = report["checks"][0]
    spikes = sum(layer["spikes_compared"] for layer in check["layers"])
    assert f"reference = fast: {spikes:,} spikes" in text
    assert f"{report['placement']['cores']} neurocores" in page.text
    for each in report["passes"]:
        if each["judged"]:
            assert f"{each['judged']['agreement']:.1%}" in page.text
    assert {"Over time steps", "Energy", "estimate"} <= set(page.text)
    assert report["provenance"]["model"]["sha256"] in text
    assert "http" not in (measured / "report.html").read_text().replace("http://www.w3.org", "")


def test_a_page_about_hostile_names_is_only_text(out):
    report = from_json(Report, json.loads((out / "report.json").read_text()))
    report.model = "<script>alert(1)</script>.onnx"
    report.notes = ["<img src=x onerror=alert(2)>"]
    page = build(report)
    assert "<script" not in page
    assert "<img" not in page
    Page(page)


def test_the_page_opens_in_a_browser_without_a_word_on_the_console(measured):
    browser = shutil.which("chromium") or shutil.which("google-chrome")
    if browser is None:
        pytest.skip("no Chromium here")
    run = subprocess.run(
        [browser, "--headless", "--no-sandbox", "--disable-gpu", "--enable-logging=stderr",
         f"--user-data-dir={measured.parent / 'profile'}", "--dump-dom",
         f"file://{measured / 'report.html'}"],
        capture_output=True, text=True, timeout=120, check=True,
    )  # fmt: skip
    assert "CONSOLE" not in run.stderr
    assert run.stdout.count("<svg") == (measured / "report.html").read_text().count("<svg")
    assert "bit-exact" in run.stdout
