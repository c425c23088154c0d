"""Writes the figures of `speed.py` as Markdown, with a plot where matplotlib is installed."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

Rows = list[dict[str, Any]]
TITLES = {
    "main": "Whole networks, T = 8",
    "others": "Other simulators, one thread",
    "steps": "Over time steps, one thread, batch 64",
    "batch": "Over batch size, one thread, T = 8",
    "codings": "Over what spikes carry, one thread",
    "width": "Over network width, one thread, batch 64, T = 8",
}
BEGIN, END = "<!-- figures -->", "<!-- end of figures -->"


def table(rows: Rows) -> str:
    """Rows as a Markdown table."""
    heads = list(rows[0])
    lines = ["| " + " | ".join(heads) + " |", "|" + "---|" * len(heads)]
    lines += ["| " + " | ".join(_cell(row[head]) for head in heads) + " |" for row in rows]
    return "\n".join(lines)


def _cell(value: Any) -> str:
    if not isinstance(value, float):
        return str(value)
    return f"{value:.0f}" if value >= 100 else f"{value:.2f}"


def write(tables: dict[str, Rows], machine: str, out: Path | None) -> None:
    """Put the tables between the markers of `out`, before others that lie there; or print them."""
    parts = [f"Measured on {machine}, by `python benchmarks/speed.py`."]
    parts += [f"### {TITLES[name]}\n\n{table(rows)}" for name, rows in tables.items() if rows]
    if out is None:
        print("\n\n".join(parts))
        return
    drawn = {"steps", "batch", "width"} <= tables.keys()
    picture = plot(tables, out.with_suffix(".svg")) if drawn else None
    if picture is not None:
        parts.insert(1, f"![Time over steps, batch and width]({picture.name})")
    text = out.read_text(encoding="utf-8") if out.exists() else f"{BEGIN}\n{END}\n"
    before, rest = text.split(BEGIN)
    after = rest.split(END)[1]
    old = rest.split(END)[0]
    titles = {TITLES[name] for name in tables}
    kept = [part for part in old.split("### ")[1:] if part.split("\n")[0] not in titles]
    body = "\n\n".join([*parts, *(f"### {part.strip()}" for part in kept)])
    out.write_text(f"{before}{BEGIN}\n\n{body}\n\n{END}{after}", encoding="utf-8")


def plot(tables: dict[str, Rows], path: Path) -> Path | None:
    """Time of all steps over the time of the ANN; None without matplotlib."""
    if importlib.util.find_spec("matplotlib") is None:
        return None
    import matplotlib

    matplotlib.use("svg")
    matplotlib.rcParams["svg.hashsalt"] = "spikec"
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(1, 3, figsize=(11, 3.2), constrained_layout=True)
    for axis, (name, key) in zip(
        axes, (("steps", "T"), ("batch", "batch"), ("width", "width")), strict=True
    ):
        groups: dict[str, tuple[list[float], list[float]]] = {}
        for row in tables[name]:
            label = "random weights" if key == "width" else row["network"]
            at = float(row["network"].split()[-1]) if key == "width" else float(row[key])
            xs, ys = groups.setdefault(label, ([], []))
            xs.append(at)
            ys.append(row["ratio"])
        for label, (xs, ys) in groups.items():
            axis.plot(xs, ys, marker="o", label=label)
        axis.set(xscale="log", yscale="log" if key == "T" else "linear", xlabel=key)
        axis.set_xticks(xs, [f"{x:g}" for x in xs])
        axis.minorticks_off()
        axis.grid(alpha=0.3)
        axis.legend(fontsize=7)
    axes[0].set_ylabel("time of all steps / ANN")
    figure.savefig(path, metadata={"Date": None})
    pyplot.close(figure)
    return path
