"""The kind ``openvino``: IR, ONNX, TensorFlow SavedModels and frozen graphs, computed by OpenVINO."""

from pipeline.servables.openvino.adapter import OpenVinoAdapter

__all__ = ["OpenVinoAdapter"]
