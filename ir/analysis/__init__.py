"""What follows from a graph alone: each question is answered in one place."""

from spikec.ir.analysis.cones import Cone, cone_of, is_source, layer_sources
from spikec.ir.analysis.intervals import propagate
from spikec.ir.analysis.latency import gathering_layers, latency_in_windows
from spikec.ir.analysis.linear import run_cone, run_linear
from spikec.ir.analysis.uses import last_reads
from spikec.ir.op import Interval

__all__ = [
    "Cone",
    "Interval",
    "cone_of",
    "gathering_layers",
    "is_source",
    "last_reads",
    "latency_in_windows",
    "layer_sources",
    "propagate",
    "run_cone",
    "run_linear",
]
