"""The NumPy reference: exact int64 integers, slow, every value checked."""

from spikec.backends.backend import Backend
from spikec.runtime.interpreter import simulate

BACKEND = Backend(doc="NumPy reference, exact integers, every width checked", simulate=simulate)
