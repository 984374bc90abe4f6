"""The kind ``image``: a version is a directory with ``image.yaml``."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pipeline.registry.options import check_options
from pipeline.registry.servable import ServableId
from pipeline.registry.simple_loader import SimpleLoader
from pipeline.servables.framework import imported
from pipeline.servables.image import recipe
from pipeline.servables.image.recipe import FILE, ImageOptions
from pipeline.servables.image.servable import ImageServable


class ImageAdapter:
    """Source adapter of ``image``: a version is a directory with ``image.yaml``. Extra: images."""

    kind = "image"
    looks_for = FILE

    def detect(self, path: Path) -> bool:
        """See SourceAdapter. As a step beside ``pipeline.yaml`` it is a part of that version."""
        return (path / FILE).is_file() and not (path / "pipeline.yaml").exists()

    def loader(self, id: ServableId, path: Path, options: Mapping[str, Any]) -> SimpleLoader:  # noqa: A002  # TF Serving's word
        """See SourceAdapter. ``options`` are fields of ImageOptions."""
        recipe.check_limits(id, check_options(id, options, ImageOptions))
        file = path if path.is_file() else path / FILE
        return SimpleLoader(lambda: _load(str(id), file, options), lambda: 0, destroy=ImageServable.close)


def _load(what: str, file: Path, options: Mapping[str, Any]) -> ImageServable:
    checked = recipe.read(what, file, options)
    return ImageServable(what, checked, imported(what, "cv2", "OpenCV", "images"))
