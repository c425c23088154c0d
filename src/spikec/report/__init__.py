"""The report page: one HTML file that says what a compiled network is worth, from its report."""

from spikec.report.page import build

__all__ = ["build"]
