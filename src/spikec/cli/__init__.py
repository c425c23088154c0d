"""The command line: one file per group of commands, in the order in which `--help` lists them."""

# isort: off
from spikec.cli.app import app
from spikec.cli import compiling, running, checking, inspecting
from spikec.cli.main import main

__all__ = ["app", "checking", "compiling", "inspecting", "main", "running"]
