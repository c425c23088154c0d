"""The middle layer of targets that print programs or circuits: typed records of a network."""

from spikec.backends.lowering.lower import lower
from spikec.backends.lowering.records import Plan

__all__ = ["Plan", "lower"]
