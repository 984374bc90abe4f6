"""What an encoded image says of itself: pure functions, nothing is decoded.

Hostile images are refused here, before a native decoder sees them: one that claims 50,000 x 50,000 pixels costs a few
microseconds.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import Final, NamedTuple

FORMATS: Final = ("jpeg", "png", "gif", "bmp")
_MOST_PARTS: Final = 4096  # segments before the pixels; cameras write a few dozen
_MOST_PNG_CHUNKS: Final = 65536  # libpng writes one for 8 KiB of compressed pixels
_JPEG_SCAN: Final = b"\xff\xda"
# Progressive images have about ten; each empty one costs a pass over all pixels for some twenty bytes.
_MOST_SCANS: Final = 100
_PNG_MAGIC: Final = b"\x89PNG\r\n\x1a\n"
# Start-of-frame markers; C4, C8 and CC in their midst are something else.
_JPEG_FRAMES: Final = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
# End of image, start of scan; and FF 00, which decoders skip as filler, so that they would read on at another place.
_JPEG_ENDS: Final = frozenset((0x00, 0xD9, 0xDA))
_JPEG_BARE: Final = frozenset((0x01, *range(0xD0, 0xD8)))


class Header(NamedTuple):
    """Format (one of ``FORMATS``), width and height in pixels as stored, before any rotation by EXIF."""

    format: str
    width: int
    height: int


class NoImage(ValueError):
    """The bytes begin as no image does that is known here, or break off, or would cost a decoder too much."""


def read(content: bytes) -> Header:
    """Return what an image says of itself; raises NoImage. Looks at the parts that it is made of, not into them."""
    for begin, name, size in _READERS:
        if content.startswith(begin):
            try:
                width, height = size(content)
            except (struct.error, IndexError) as error:
                raise NoImage(f"it is a {name.upper()} image that ends too early") from error
            if width < 1 or height < 1:
                raise NoImage(f"it is a {name.upper()} image of {width} x {height} pixels")
            return Header(name, width, height)
    raise NoImage(f"its first bytes, {content[:8].hex() or 'none'}, are those of no JPEG, PNG, GIF or BMP image")


def _jpeg(content: bytes) -> tuple[int, int]:
    if content.count(_JPEG_SCAN) > _MOST_SCANS:
        raise NoImage(f"it is a JPEG image of more than {_MOST_SCANS} scans")
    place = 2
    for _ in range(_MOST_PARTS):
        if content[place] != 0xFF:
            raise NoImage("it is a JPEG image without a frame: no marker stands where one must")
        while content[place] == 0xFF:
            place += 1
        marker = content[place]
        place += 1
        if marker in _JPEG_FRAMES:
            height, width = struct.unpack_from(">HH", content, place + 3)
            return width, height
        if marker in _JPEG_ENDS:
            break
        if marker not in _JPEG_BARE:
            place += max(2, *struct.unpack_from(">H", content, place))
    raise NoImage("it is a JPEG image without a frame")


def _png(content: bytes) -> tuple[int, int]:
    """Also walks over all chunks: OpenCV believes a chunk's length, and clears 4 GB for one that claims so many."""
    if content[12:16] != b"IHDR":
        raise NoImage("it is a PNG image whose first chunk is not IHDR")
    width, height = struct.unpack_from(">II", content, 16)
    place = len(_PNG_MAGIC)
    for _ in range(_MOST_PNG_CHUNKS):
        length, chunk = struct.unpack_from(">I4s", content, place)
        place += 12 + length
        if place > len(content):
            raise NoImage("it is a PNG image that ends within a chunk: its bytes are damaged, or end too early")
        if chunk == b"acTL":
            raise NoImage("it is an animated PNG image; only still ones are read")
        if chunk == b"IEND":
            return width, height
    raise NoImage(f"it is a PNG image of more than {_MOST_PNG_CHUNKS} chunks")


def _gif(content: bytes) -> tuple[int, int]:
    width, height = struct.unpack_from("<HH", content, 6)
    return width, height


def _bmp(content: bytes) -> tuple[int, int]:
    (header_bytes,) = struct.unpack_from("<I", content, 14)
    width, height = struct.unpack_from("<HH" if header_bytes == 12 else "<ii", content, 18)
    return width, abs(height)


_READERS: Final[tuple[tuple[bytes | tuple[bytes, ...], str, Callable[[bytes], tuple[int, int]]], ...]] = (
    (b"\xff\xd8\xff", "jpeg", _jpeg),
    (_PNG_MAGIC, "png", _png),
    ((b"GIF87a", b"GIF89a"), "gif", _gif),
    (b"BM", "bmp", _bmp),
)
