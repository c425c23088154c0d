"""The spiking graph IR: types, ops, graphs, their verifier and their text."""

from spikec.ir.builder import GraphBuilder, remove_dead, unique_name
from spikec.ir.errors import (
    BackendError,
    InvalidArtifact,
    InvalidData,
    InvalidGraph,
    InvalidModel,
    ParseError,
    PassError,
    RangeError,
    SpikecError,
    UnsupportedOperator,
    UsageError,
)
from spikec.ir.graph import Graph, Node, op_of, same_values
from spikec.ir.ops import OPS
from spikec.ir.text import parse, read_spk, to_text
from spikec.ir.types import F32, F64, SPIKE, DType, Param, TensorType, signed, spread, unsigned
from spikec.ir.verify import verify

__all__ = [
    "F32",
    "F64",
    "OPS",
    "SPIKE",
    "BackendError",
    "DType",
    "Graph",
    "GraphBuilder",
    "InvalidArtifact",
    "InvalidData",
    "InvalidGraph",
    "InvalidModel",
    "Node",
    "Param",
    "ParseError",
    "PassError",
    "RangeError",
    "SpikecError",
    "TensorType",
    "UnsupportedOperator",
    "UsageError",
    "op_of",
    "parse",
    "read_spk",
    "remove_dead",
    "same_values",
    "signed",
    "spread",
    "to_text",
    "unique_name",
    "unsigned",
    "verify",
]
