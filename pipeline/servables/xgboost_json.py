"""XGBoost's two formats, JSON and UBJSON, read into plain dicts and arrays before native code sees them.

Both readers bound depth, refuse a key that stands twice (two parsers might each take another one), and work in pieces,
so that other threads run in between.
"""

from __future__ import annotations

import json
import re
import struct
from typing import Any, Final

import numpy as np

from pipeline.tensors import Array

MAX_DEPTH: Final = 32
_SPACE: Final = re.compile(r"[ \t\r\n]*")
_FLAT: Final = re.compile(r'\[[^\[\]{}"]*\]')
# Text and numbers without brackets; and an object of only those, or with one more level of lists and objects: a tree.
_PLAIN: Final = r'(?:[^\[\]{}"]++|"[^\[\]{}"\\]*+")*+'
_SHALLOW: Final = re.compile(rf"\{{{_PLAIN}(?:(?:\[{_PLAIN}\]|\{{{_PLAIN}\}}){_PLAIN})*+\}}")
_PIECE: Final = 1 << 20  # characters: some 15 ms, in which no other thread runs
_DECODER: Final = json.JSONDecoder()
# UBJSON's markers of numbers, all big-endian.
_NUMBERS: Final = {"i": ">i1", "U": ">u1", "I": ">i2", "l": ">i4", "L": ">i8", "d": ">f4", "D": ">f8"}
_DTYPES: Final = {f"{marker}#".encode(): np.dtype(name) for marker, name in _NUMBERS.items()}
_LENGTH: Final = struct.Struct(">cq")


def read(data: bytes) -> Any:
    """Return what a model file holds: dicts, lists, text, numbers and, for UBJSON's typed arrays, numpy arrays.

    Raises ValueError for anything malformed.
    """
    if data[:1] == b"{" and data[1:2] in b'"}\r\n\t ':
        return _Json(data.decode()).read()
    return _Ubjson(data).read()


class _Json:
    def __init__(self, text: str) -> None:
        self._text = text
        self._at = 0

    def read(self) -> Any:
        value = self._value(0)
        if self._peek():
            raise ValueError(f"something follows the model at character {self._at}")
        return value

    def _peek(self) -> str:
        space = _SPACE.match(self._text, self._at)
        self._at = space.end() if space else self._at
        return self._text[self._at : self._at + 1]

    def _value(self, depth: int) -> Any:
        if depth > MAX_DEPTH:
            raise ValueError(f"nested deeper than {MAX_DEPTH} levels")
        first = self._peek()
        if first == "{":
            shallow = _SHALLOW.match(self._text, self._at)
            if shallow is None or shallow.end() - self._at > _PIECE or depth + 2 > MAX_DEPTH:
                return self._object(depth)
            self._at = shallow.end()
            return json.loads(shallow.group(), object_pairs_hook=_unique)
        flat = _FLAT.match(self._text, self._at) if first == "[" else None
        if flat:
            self._at = flat.end()
            return json.loads(flat.group())
        if first == "[":
            return self._array(depth)
        value, self._at = _DECODER.raw_decode(self._text, self._at)
        return value

    def _object(self, depth: int) -> dict[str, Any]:
        found: dict[str, Any] = {}
        self._at += 1
        if self._peek() == "}":
            self._at += 1
            return found
        while True:
            self._expect('"')
            key, self._at = _DECODER.raw_decode(self._text, self._at - 1)
            self._expect(":")
            if key in found:
                raise ValueError(f"the key {key!r} stands twice")
            found[key] = self._value(depth + 1)
            if self._expect(",}") == "}":
                return found

    def _array(self, depth: int) -> list[Any]:
        found = []
        self._at += 1
        while True:
            found.append(self._value(depth + 1))
            if self._expect(",]") == "]":
                return found

    def _expect(self, choices: str) -> str:
        got = self._peek()
        if not got or got not in choices:
            raise ValueError(f"expected one of {choices} at character {self._at}, got {got or 'the end'}")
        self._at += 1
        return got


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        keys = [key for key, _ in pairs]
        raise ValueError(f"the key {next(key for key in keys if keys.count(key) > 1)!r} stands twice")
    return found


class _Ubjson:
    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0

    def read(self) -> Any:
        if self._data[:1] != b"{":
            raise ValueError("neither JSON nor UBJSON: it does not begin with {")
        value = self._value(self._marker(), 0)
        if self._at != len(self._data):
            raise ValueError(f"something follows the model at byte {self._at}")
        return value

    def _take(self, count: int) -> bytes:
        if count < 0 or self._at + count > len(self._data):
            raise ValueError(f"{count} bytes are missing at byte {self._at}")
        self._at += count
        return self._data[self._at - count : self._at]

    def _marker(self) -> str:
        return self._take(1).decode("latin-1")

    def _value(self, marker: str, depth: int) -> Any:
        if depth > MAX_DEPTH:
            raise ValueError(f"nested deeper than {MAX_DEPTH} levels")
        if marker == "{":
            return self._object(depth)
        if marker == "[":
            return self._array(depth)
        if marker == "S":
            return self._text()
        if marker in _NUMBERS:
            dtype = np.dtype(_NUMBERS[marker])
            return np.frombuffer(self._take(dtype.itemsize), dtype)[0].item()
        if marker in "TFZ":
            return {"T": True, "F": False, "Z": None}[marker]
        raise ValueError(f"unknown marker {marker!r} at byte {self._at - 1}")

    def _text(self) -> str:
        start = self._at + _LENGTH.size
        end = self._at = start + self._integer()
        if not start <= end <= len(self._data):
            raise ValueError(f"{end - start} bytes are missing at byte {start}")
        return self._data[start:end].decode()

    def _integer(self) -> int:
        """Read a length: XGBoost reads each as 8 bytes, whatever the marker says."""
        try:
            marker, length = _LENGTH.unpack_from(self._data, self._at)
        except struct.error as error:
            raise ValueError(f"a length is missing at byte {self._at}") from error
        if marker != b"L":
            raise ValueError(f"expected a length of 8 bytes at byte {self._at}")
        self._at += _LENGTH.size
        return int(length)

    def _object(self, depth: int) -> dict[str, Any]:
        found: dict[str, Any] = {}
        data = self._data
        while data[self._at : self._at + 1] != b"}":
            key = self._text()
            if key in found:
                raise ValueError(f"the key {key!r} stands twice")
            if data[self._at : self._at + 2] == b"[$":
                self._at += 2
                found[key] = self._typed()
            else:
                found[key] = self._value(self._marker(), depth + 1)
        self._at += 1
        return found

    def _array(self, depth: int) -> Any:
        marker = self._marker()
        if marker == "$":
            return self._typed()
        if marker == "#":
            return [self._value(self._marker(), depth + 1) for _ in range(self._integer())]
        found = []
        while marker != "]":
            found.append(self._value(marker, depth + 1))
            marker = self._marker()
        return found

    def _typed(self) -> Array:
        dtype = _DTYPES.get(self._data[self._at : self._at + 2])
        if dtype is None:
            raise ValueError(f"an array of an unknown type at byte {self._at}")
        self._at += 2
        count = self._integer()
        if not 0 <= count * dtype.itemsize <= len(self._data) - self._at:
            raise ValueError(f"{count * dtype.itemsize} bytes are missing at byte {self._at}")
        self._at += count * dtype.itemsize
        return np.frombuffer(self._data, dtype, count, self._at - count * dtype.itemsize)
