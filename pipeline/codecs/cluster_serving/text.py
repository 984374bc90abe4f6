"""Text columns: an image in base64, one text, or several texts in one; nothing but the text itself says which."""

from __future__ import annotations

import binascii
from typing import Final

import numpy as np

from pipeline.errors import Undecodable
from pipeline.tensors import Tensor, from_array

SEPARATOR: Final = b"|"
_MOST_TEXTS: Final = 1_000_000  # each costs some 100 bytes of memory, and one of its record
# How the base64 of an image begins: JPEG, PNG, GIF, BMP.
_BEGINNINGS: Final = (b"/9j/", b"iVBORw0KGgo", b"R0lGODdh", b"R0lGODlh", b"Qk")


def tensor_of(name: str, text: bytes) -> Tensor:
    """Return BYTES: [] with the bytes of an image, else [texts].

    Texts are joined by ``|``, which base64 does not have. One text alone is an image where it is the base64 of one, and
    text otherwise: a text that happens to be the base64 of an image can not be told from it. Raises Undecodable for
    more than a million texts.
    """
    image = None if SEPARATOR in text else _image(text)
    if image is not None:
        return image_of(name, image)
    count = text.count(SEPARATOR) + 1
    check_count(name, count)
    array = np.empty(count, object)
    array[:] = text.split(SEPARATOR)
    return from_array(name, array)


def check_count(name: str, count: int) -> None:
    """Raise Undecodable for more texts than are read: before they are made, small as their record may be."""
    if count > _MOST_TEXTS:
        raise Undecodable(f"column {name!r} has {count} texts, the limit is {_MOST_TEXTS}")


def image_of(name: str, image: bytes) -> Tensor:
    """Return the tensor of one image."""
    return Tensor(name, "BYTES", (), len(image).to_bytes(4, "little") + image)


def _image(text: bytes) -> bytes | None:
    if not text.startswith(_BEGINNINGS):
        return None
    try:
        image = binascii.a2b_base64(text, strict_mode=True)
    except binascii.Error:
        return None
    if text.startswith(b"Qk") and int.from_bytes(image[2:6], "little") != len(image):  # a BMP tells its length
        return None
    return image
