"""TensorFlow servables: SavedModels and Keras files, each in a graph and a session of its own."""

from pipeline.servables.tensorflow.adapter import TensorFlowAdapter

__all__ = ["TensorFlowAdapter"]
