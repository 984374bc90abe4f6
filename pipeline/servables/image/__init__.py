"""Images as servables: JPEG and PNG bytes become the tensor that a model was trained on. OpenCV is imported on use."""

from pipeline.servables.image.adapter import ImageAdapter

__all__ = ["ImageAdapter"]
