"""The ONNX frontend: a model becomes a graph of stage ann.

One module per operator family; each registers its operators with `@lowers`.
"""

from __future__ import annotations

import importlib
import pkgutil

from spikec.compiler.onnx.importer import Imported, import_model
from spikec.compiler.onnx.loader import expose, load_model, model_hash
from spikec.compiler.onnx.visit import Refusal

for _info in pkgutil.iter_modules(__path__):
    importlib.import_module(f"{__name__}.{_info.name}")

__all__ = ["Imported", "Refusal", "expose", "import_model", "load_model", "model_hash"]
