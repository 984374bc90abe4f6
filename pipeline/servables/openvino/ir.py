"""An OpenVINO IR looked over before OpenVINO reads it: XML without a document type, constants inside their ``.bin``."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final
from xml.parsers import expat  # a document type, and so every entity, is refused below

from pipeline.errors import InvalidArtefact

_MOST_ELEMENTS: Final = 1 << 48
_MOST_DIGITS: Final = 20  # the first of so many say that there are too many
_BITS: Final = {
    "boolean": 8,
    "u1": 1,
    "u2": 2,
    "u3": 3,
    "u4": 4,
    "u6": 6,
    "u8": 8,
    "u16": 16,
    "u32": 32,
    "u64": 64,
    "i4": 4,
    "i8": 8,
    "i16": 16,
    "i32": 32,
    "i64": 64,
    "f16": 16,
    "bf16": 16,
    "f32": 32,
    "f64": 64,
    "nf4": 4,
    "f4e2m1": 4,
    "f8e4m3": 8,
    "f8e5m2": 8,
    "f8e8m0": 8,
}
# Types whose elements do not fill their bytes one after the other.
_ODD: Final = frozenset({"u3", "u6"})


def check_ir(name: str, xml: Path) -> None:
    """Raise InvalidArtefact unless the IR at ``xml``, with its ``.bin`` beside it, can be given to OpenVINO.

    Refused are a document type (entities, whether they multiply or lead to other files), operations of extension
    libraries, constants that lie outside the ``.bin`` or whose shape does not have their size, and shapes of more
    elements than any memory holds. What a graph computes is not looked at. Reads the XML once, in small pieces.
    """
    look = _Look(name, xml.name, xml.with_suffix(".bin").stat().st_size)
    parser = expat.ParserCreate()
    parser.StartDoctypeDeclHandler = look.doctype
    parser.StartElementHandler = look.element
    try:
        with xml.open("rb") as file:
            parser.ParseFile(file)
    except expat.ExpatError as error:
        raise InvalidArtefact(name, f"{xml.name} is no XML: {error}") from error
    if not look.layers:
        raise InvalidArtefact(name, f"{xml.name} has no layers, so it is no OpenVINO IR")


class _Look:
    """The handlers of one pass; ``layers`` counts what has been seen."""

    def __init__(self, name: str, file: str, bin_bytes: int) -> None:
        self._name = name
        self._file = file
        self._bin_bytes = bin_bytes
        self._layer: Mapping[str, str] = {}
        self.layers = 0

    def doctype(self, *_: Any) -> None:
        raise self._error("it has a document type (DOCTYPE), which no OpenVINO IR needs; entities are not read")

    def element(self, tag: str, attributes: Mapping[str, str]) -> None:
        if tag == "layer":
            self._layer = attributes
            self.layers += 1
            if attributes.get("version") == "extension":
                kind = attributes.get("type")
                raise self._error(f"{self._at()} is an operation {kind!r} of an extension library; none is ever loaded")
        elif tag == "data":
            self._data(attributes)

    def _data(self, attributes: Mapping[str, str]) -> None:
        elements = self._elements(attributes.get("shape", ""))
        if self._layer.get("type") != "Const":
            return
        offset, size = (self._number(attributes, key) for key in ("offset", "size"))
        if offset + size > self._bin_bytes:
            where = f"bytes {offset} to {offset + size}, and the .bin has {self._bin_bytes}"
            raise self._error(f"{self._at()} is at {where}")
        bits = _BITS.get(attributes.get("element_type", ""))
        if bits is not None and attributes["element_type"] not in _ODD and size != (elements * bits + 7) // 8:
            raise self._error(f"{self._at()} has {elements} elements of {bits} bits in {size} bytes")

    def _elements(self, shape: str) -> int:
        """The number of elements of a shape such as ``4, 1, 3``; an axis that is open counts as 1."""
        texts = [axis.strip() for axis in shape.split(",")]
        axes = [int(text[:_MOST_DIGITS]) if text.isdecimal() else 1 for text in texts]
        elements = math.prod(axes)
        if elements > _MOST_ELEMENTS or max(axes) > _MOST_ELEMENTS:
            raise self._error(f"{self._at()} has the shape {shape[:200]!r}, more elements than any memory holds")
        return elements

    def _number(self, attributes: Mapping[str, str], key: str) -> int:
        value = attributes.get(key, "")
        if not re.fullmatch(r"\d{1,20}", value):
            raise self._error(f"{self._at()} has {key} {value[:40]!r}, expected a number of bytes")
        return int(value)

    def _at(self) -> str:
        return f"layer {self._layer.get('id')} ({self._layer.get('name', '')[:100]})"

    def _error(self, reason: str) -> InvalidArtefact:
        return InvalidArtefact(self._name, f"{self._file}: {reason}")
