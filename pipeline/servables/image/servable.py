"""From the bytes of images to one tensor: refuse, decode, resize, normalise, in parallel over the batch."""

from __future__ import annotations

from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np

from pipeline.errors import InvalidInput
from pipeline.records import DEFAULT_SIGNATURE
from pipeline.registry.cores import cores
from pipeline.registry.servable import Description, Signature, TensorSpec
from pipeline.servables.image import header
from pipeline.servables.image.geometry import fit
from pipeline.servables.image.header import NoImage
from pipeline.servables.image.recipe import ImageOptions
from pipeline.tensors import DTYPES, Array

INPUT = "image"
OUTPUT = "pixels"


class ImageServable:
    """Input ``image`` BYTES [batch]; output ``pixels`` [batch, channels, height, width], or as the layout says.

    OpenCV works without the GIL, so a pool of threads of this servable's own decodes the images of a batch in parallel.
    """

    def __init__(self, what: str, options: ImageOptions, cv2: Any) -> None:
        self._what = what
        self._options = options
        self._cv2 = cv2
        self._flags = cv2.IMREAD_GRAYSCALE if options.colour == "GRAY" else cv2.IMREAD_COLOR
        if not options.exif_orientation:
            self._flags |= cv2.IMREAD_IGNORE_ORIENTATION
        name = "LANCZOS4" if options.interpolation == "lanczos" else options.interpolation.upper()
        self._interpolation = getattr(cv2, f"INTER_{name}")
        self._mean, self._scale = (
            np.broadcast_to(np.asarray(numbers, np.float32), options.channels)
            for numbers in (options.mean, options.scale)
        )
        self._is_planar = options.layout == "CHW"
        self._threads = options.threads or cores()
        self._pool = ThreadPoolExecutor(self._threads, f"images-{what}")
        self.signatures: Mapping[str, Signature] = {DEFAULT_SIGNATURE: _signature(options)}
        self.description = Description("opencv-python-headless", cv2.__version__, threads=self._threads)

    def predict(self, signature: str, inputs: Mapping[str, Array]) -> Mapping[str, Array]:  # noqa: ARG002  # there is one
        """See Servable. Raises InvalidInput for the first row that is no image, or one that the options refuse."""
        rows = inputs[INPUT]
        for row, content in enumerate(rows):
            self._check(row, content)
        size = (len(rows), self._options.channels, self._options.height, self._options.width)
        pixels = np.empty(size if self._is_planar else (size[0], *size[2:], size[1]), DTYPES[self._options.datatype])
        if len(rows) == 1 or self._threads == 1:
            for row, content in enumerate(rows):
                self._prepare(row, content, pixels[row])
        else:
            list(self._pool.map(self._prepare, range(len(rows)), rows, pixels))
        return {OUTPUT: pixels}

    def close(self) -> None:
        """End the threads; no prediction is running by then."""
        self._pool.shutdown()

    def _check(self, row: int, content: bytes) -> None:
        """Refuse by what it says of itself what must not reach the decoder."""
        try:
            found = header.read(content)
        except NoImage as error:
            raise InvalidInput(self._what, INPUT, row, str(error)) from error
        options = self._options
        if found.format not in options.formats:
            reason = f"{found.format.upper()} images are not allowed, only {', '.join(options.formats)}"
            raise InvalidInput(self._what, INPUT, row, reason)
        if found.width * found.height > options.max_pixels:
            reason = f"it says that it has {found.width} x {found.height} pixels, max_pixels is {options.max_pixels}"
            raise InvalidInput(self._what, INPUT, row, reason)

    def _prepare(self, row: int, content: bytes, out: Array) -> None:
        """Decode one image and write it, as the recipe says, to ``out``: [C, H, W] or [H, W, C]."""
        try:
            image = self._cv2.imdecode(np.frombuffer(content, np.uint8), self._flags)
        except self._cv2.error as error:
            raise InvalidInput(self._what, INPUT, row, f"it can not be decoded: {error.err}") from error
        if image is None:
            reason = "it can not be decoded: its bytes are damaged, or end too early"
            raise InvalidInput(self._what, INPUT, row, reason)
        image = self._resize(row, image).reshape(self._options.height, self._options.width, self._options.channels)
        if self._options.colour == "RGB":
            image = image[:, :, ::-1]
        for channel in range(self._options.channels):
            plane = image[:, :, channel]
            target = out[channel] if self._is_planar else out[:, :, channel]
            if self._mean[channel] == 0 and self._scale[channel] == 1:
                target[...] = plane
            else:
                np.subtract(plane, self._mean[channel], out=target)
                np.divide(target, self._scale[channel], out=target)

    def _resize(self, row: int, image: Array) -> Array:
        options, (height, width) = self._options, image.shape[:2]
        if options.resize == "exact" and (width, height) != (options.width, options.height):
            reason = f"it has {width} x {height} pixels, expected {options.width} x {options.height}"
            raise InvalidInput(self._what, INPUT, row, reason)
        to = fit(options, width, height)
        if to.width * to.height > max(options.max_pixels, options.width * options.height):
            reason = f"its {width} x {height} pixels would be scaled to {to.width} x {to.height} before the cut"
            raise InvalidInput(self._what, INPUT, row, reason)
        if (width, height) != (to.width, to.height):
            image = self._cv2.resize(image, (to.width, to.height), interpolation=self._interpolation)
        return image[to.top : to.top + options.height, to.left : to.left + options.width]


def _signature(options: ImageOptions) -> Signature:
    axes = {"C": ("channel", options.channels), "H": ("height", options.height), "W": ("width", options.width)}
    names, lengths = zip(*(axes[letter] for letter in options.layout), strict=True)
    return Signature(
        (TensorSpec(INPUT, "BYTES", (-1,), ("batch",)),),
        (TensorSpec(OUTPUT, options.datatype, (-1, *lengths), ("batch", *names)),),
    )
