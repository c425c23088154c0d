"""From an ONNX model to an integer spiking graph: frontend, passes and their pipeline."""
