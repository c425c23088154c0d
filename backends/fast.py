"""The fast engine: bit for bit the reference, chosen by default."""

from spikec.backends.backend import Backend
from spikec.runtime.fast import simulate

BACKEND = Backend(doc="compiled engine on all cores, bit for bit the reference", simulate=simulate)
