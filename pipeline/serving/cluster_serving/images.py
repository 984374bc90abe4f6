"""Images that meet an input of numbers: pixels as the ancestor made them, in the size and layout of the input."""

from __future__ import annotations

import functools
from typing import Final

from pipeline.description import TensorSpec
from pipeline.errors import InvalidInput
from pipeline.servables.framework import imported
from pipeline.servables.image import header
from pipeline.servables.image.header import NoImage
from pipeline.servables.image.recipe import ImageOptions
from pipeline.servables.image.servable import INPUT, OUTPUT, ImageServable
from pipeline.settings import ClusterServingSettings
from pipeline.tensors import Tensor, from_array

_CHANNELS: Final = {"BGR": 3, "RGB": 3, "GRAY": 1}


class Images:
    """Reads the images of one route. From any thread.

    Pixels are 0 to 255, not scaled, their colours in the order that the settings say. One image at a time on the
    calling thread; many images are a pipeline's work, which decodes those of a batch in parallel.
    """

    def __init__(self, settings: ClusterServingSettings) -> None:
        self._settings = settings
        self._prepared = functools.lru_cache(16)(self._servable)

    def pixels(self, servable: str, spec: TensorSpec, image: Tensor) -> Tensor:
        """Return the pixels FP32 [C, H, W] or [H, W, C] of an image, as the shape of the input says.

        Raises InvalidInput for what is no image, and for an input that takes none. Raises MissingExtra.
        """
        [content] = rows = image.array().reshape(1)
        options = self._options(servable, spec, content)
        try:
            pixels = self._prepared(options).predict("", {INPUT: rows})[OUTPUT][0]
        except InvalidInput as error:
            raise InvalidInput(servable, spec.name, 0, error.reason) from error
        return from_array(spec.name, pixels)

    def _options(self, servable: str, spec: TensorSpec, content: bytes) -> ImageOptions:
        channels = _CHANNELS[self._settings.image_colour]
        axes = spec.shape[-3:]
        is_planar = len(axes) == 3 and axes[0] == channels
        if not is_planar and (len(axes) != 3 or axes[2] != channels):
            reason = f"it is an image of {channels} channels, and the input has the shape {list(spec.shape)}"
            raise InvalidInput(servable, spec.name, 0, reason)
        height, width = axes[1:] if is_planar else axes[:2]
        try:
            own = header.read(content)
        except NoImage as error:
            raise InvalidInput(servable, spec.name, 0, str(error)) from error
        wanted_width = width if width > 0 else self._settings.image_width
        wanted_height = height if height > 0 else self._settings.image_height
        return ImageOptions(
            width=wanted_width or own.width,
            height=wanted_height or own.height,
            colour=self._settings.image_colour,
            layout="CHW" if is_planar else "HWC",
            # Turned upright it would no longer have the size that its header says.
            exif_orientation=bool(wanted_width and wanted_height),
            formats=header.FORMATS,
            threads=1,
        )

    def _servable(self, options: ImageOptions) -> ImageServable:
        return ImageServable("image", options, imported("images", "cv2", "OpenCV", "images"))
