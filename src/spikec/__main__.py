"""`python -m spikec`."""

from spikec.cli import main

main()
