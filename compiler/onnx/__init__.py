"""The ONNX frontend: a model becomes a graph of stage ann."""

from spikec.compiler.onnx.importer import Imported, import_model
from spikec.compiler.onnx.loader import expose, load_model, model_hash
from spikec.compiler.onnx.scope import Refusal

__all__ = ["Imported", "Refusal", "expose", "import_model", "load_model", "model_hash"]
