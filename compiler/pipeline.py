"""How passes are read from text and run: in order, each verified and reported."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from spikec.compiler.passes import (
    PASSES,
    Context,
    Pass,
    Progress,
    Record,
    joined,
    naming,
    within,
)
from spikec.ir import Graph, ParseError, PassError, verify
from spikec.ir.options import configure, read_call, split_list, suggestion
from spikec.runtime.artifact import to_json
from spikec.runtime.files import new_folder, replace_file
from spikec.runtime.manifests import DUMP

__all__ = [
    "PASSES",
    "Context",
    "Pass",
    "Pipeline",
    "Progress",
    "Record",
    "parse_pipeline",
    "within",
]


@dataclass(slots=True)
class Pipeline:
    """An ordered list of passes.

    Attributes:
        passes: In order.
        verify_each: Verify the graph after each pass.
        dump: Folder for the text of the graph after each pass, `NN-name.spk`.
    """

    passes: Sequence[Pass]
    verify_each: bool = True
    dump: Path | None = None

    def run(self, graph: Graph, context: Context) -> tuple[Graph, list[Record]]:
        """Run all passes.

        Returns:
            The final graph and one record per pass.

        Raises:
            SpikecError: of the pass that failed, prefixed with its name.
        """
        records: list[Record] = []
        context.last[graph.stage] = graph
        dumped: list[str] = []
        if self.dump is not None:
            with new_folder(self.dump, DUMP) as made:
                (made / DUMP.file).write_bytes(_dump_manifest(dumped))
        for step in self.passes:
            record = step.record()
            graph = self._step(step, graph, context, record)
            records += record.parts or [record]
            if context.judge is not None and graph.stage != "ann":
                with context.clock("judge"):
                    records[-1].judged = context.judge(graph)
            context.last[graph.stage] = graph
            if self.dump is not None:
                dumped.append(f"{len(records):02d}-{record.name}.spk")
                replace_file(self.dump / DUMP.file, _dump_manifest(dumped))
                replace_file(self.dump / dumped[-1], graph.to_text().encode())
        return graph, records

    def _step(self, step: Pass, graph: Graph, context: Context, record: Record) -> Graph:
        for part in step.parts:
            if graph.stage not in part.stages:
                raise PassError(
                    f"pass {part.name} works on stage {' or '.join(part.stages)}, "
                    f"the graph is at stage {graph.stage}"
                )
        with naming(record.name):
            with context.clock(step.name):
                graph = step.run(graph, context, record)
            if self.verify_each:
                with context.clock("verify"):
                    verify(graph)
        return graph


def _dump_manifest(files: Sequence[str]) -> bytes:
    return to_json({"format": 1, "dump": files}).encode()


def parse_pipeline(text: str) -> list[Pass]:
    """Read `"fold,qcfs{levels=4 per=layer},quantise"`.

    Neighbours that calibrate layer by layer become one pass, a sweep over the layers.

    Raises:
        ParseError: for an unknown pass, option or value.
        PassError: for a value out of an option's range.
        SpikecError: for a pass whose module cannot be loaded.
    """
    passes = [_read_pass(part) for part in split_list(text)]
    if not passes:
        raise ParseError("the pipeline names no pass")
    return joined(passes)


def _read_pass(text: str) -> Pass:
    name, given = read_call(text, "pass")
    kind = PASSES.get(name)
    if kind is None:
        hint = suggestion(name, PASSES) or f"one of {', '.join(PASSES)}"
        raise ParseError(f"unknown pass '{name}'", hint=hint)
    return configure(kind, name, given, "pass")
