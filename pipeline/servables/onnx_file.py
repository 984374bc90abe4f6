"""An ONNX file looked over before a runtime reads it: its structure, the files that it refers to, its axes' names."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import IO, Any, Final, NamedTuple

from pipeline.errors import InvalidArtefact, PathRefused
from pipeline.servables.onnx_operators import least_inputs
from pipeline.servables.protobuf import Field, MalformedMessage, fields, packed

# Messages of onnx.proto: the fields that hold messages, and of which kind; what is not named is not looked into.
_MESSAGES: Final[dict[str, dict[int, str]]] = {
    "model": {7: "graph", 20: "training", 25: "function"},
    "training": {1: "graph", 2: "graph"},
    "function": {7: "node"},
    "graph": {1: "node", 5: "tensor", 11: "input", 12: "output", 15: "sparse"},
    "node": {5: "attribute"},
    "attribute": {5: "tensor", 6: "graph", 10: "tensor", 11: "graph", 22: "sparse", 23: "sparse"},
    "sparse": {1: "tensor", 2: "tensor"},
}
_DIMS, _DATA_TYPE, _RAW_DATA, _EXTERNAL_DATA, _DATA_LOCATION = 1, 2, 9, 13, 14
# Bits of an element by its data type; text has none, and what is younger is not compared.
_BITS: Final = {1: 32, 2: 8, 3: 8, 4: 16, 5: 16, 6: 32, 7: 64, 9: 8, 10: 16, 11: 64, 12: 32, 13: 64, 14: 64, 16: 16}
_DIM_PARAM: Final = 2
_MOST_DIGITS: Final = 19  # those of 2^63
_DEEPEST: Final = 64
_MOST_FIELDS: Final = 20_000_000


class OnnxFile(NamedTuple):
    """What is read of an ONNX file.

    ``axes``: the names of the axes of inputs and outputs, "" where an axis has none. ``shapeless``: the inputs and
    outputs that do not say how many axes they have. ``external_files``: the files that hold weights, as they are
    referred to, and where they are.
    """

    axes: dict[str, tuple[str, ...]]
    shapeless: frozenset[str]
    external_files: dict[str, Path]


def find(path: Path) -> Path | None:
    """Return the ONNX file of a version: ``model.onnx``, a single ``*.onnx``, or the version itself; else None."""
    if path.is_file():
        return path if path.suffix == ".onnx" else None
    if (path / "model.onnx").is_file():
        return path / "model.onnx"
    files = list(path.glob("*.onnx"))
    return files[0] if len(files) == 1 else None


def look_over(name: str, file: Path, root: Path) -> OnnxFile:
    """Return what stands in an ONNX file; weights are skipped, not read.

    Raises InvalidArtefact where it is no ONNX file, or a tensor has not the bytes that its shape needs; PathRefused
    where it refers to external data outside the version at ``root``, before any of it is opened.
    """
    walk = _Walk(name, file, root)
    try:
        with file.open("rb") as content:
            size = file.stat().st_size
            walk.message(content, "model", Field(0, None, 0, size), 0)
    except (MalformedMessage, UnicodeDecodeError) as error:
        raise InvalidArtefact(name, f"{file.name} is no ONNX model: {error}") from error
    if not walk.graphs:
        raise InvalidArtefact(name, f"{file.name} is no ONNX model: it has no graph")
    return OnnxFile(walk.axes, frozenset(walk.shapeless), walk.external_files)


class _Walk:
    """One pass through the messages of a file."""

    def __init__(self, name: str, file: Path, root: Path) -> None:
        self._name = name
        self._file = file
        self._root = root
        self._left = _MOST_FIELDS
        self.graphs = 0
        self.axes: dict[str, tuple[str, ...]] = {}
        self.shapeless: set[str] = set()
        self.external_files: dict[str, Path] = {}

    def message(self, content: IO[bytes], kind: str, at: Field, depth: int) -> None:
        if at.value is not None or depth > _DEEPEST:
            raise MalformedMessage(f"a {kind} at byte {at.start} is no message, or {_DEEPEST} messages deep")
        self.graphs += kind == "graph"
        if kind == "node":
            self._node(content, at)
        for field in self._fields(content, at):
            inner = _MESSAGES[kind].get(field.number)
            if inner == "tensor":
                self._tensor(content, field)
            elif inner in ("input", "output"):
                if depth == 1:
                    self._value_info(content, field)
            elif inner is not None:
                self.message(content, inner, field, depth + 1)

    def _fields(self, content: IO[bytes], at: Field) -> Iterator[Field]:
        for field in fields(content, at.start, at.end):
            self._left -= 1
            if self._left < 0:
                raise MalformedMessage(f"it has more than {_MOST_FIELDS} fields")
            yield field

    def _node(self, content: IO[bytes], at: Field) -> None:
        """NodeProto {input 1, op_type 4, domain 7}."""
        inputs, text = [], {4: "", 7: ""}
        for field in self._fields(content, at):
            if field.number == 1:
                inputs.append(field.end > field.start)
            elif field.number in text:
                text[field.number] = field.read(content).decode()
        if text[7] in ("", "ai.onnx"):
            least = least_inputs(text[4])
            if not all(inputs[:least]) or len(inputs) < least:
                raise MalformedMessage(f"a {text[4]} has {sum(inputs[:least])} of the {least} inputs that it needs")

    def _value_info(self, content: IO[bytes], at: Field) -> None:
        """ValueInfoProto {name 1, type 2 {tensor_type 1 {shape 2 {dim 1 {dim_param 2}}}}}."""
        tensor, axes = "", []
        for field in self._fields(content, at):
            if field.number == 1:
                tensor = field.read(content).decode()
        if not any(self._inside(content, at, 2, 1, 2)):
            self.shapeless.add(tensor)
        for dim in self._inside(content, at, 2, 1, 2, 1):
            found = [field for field in self._fields(content, dim) if field.number == _DIM_PARAM]
            names = [field.read(content).decode() for field in found]
            axes.append(names[-1] if names else "")
        if any(axes):
            self.axes[tensor] = tuple(axes)

    def _inside(self, content: IO[bytes], at: Field, *numbers: int) -> Iterator[Field]:
        if not numbers:
            yield at
            return
        for field in self._fields(content, at):
            if field.number == numbers[0] and field.value is None:
                yield from self._inside(content, field, *numbers[1:])

    def _tensor(self, content: IO[bytes], at: Field) -> None:
        dims: list[int] = []
        found: dict[int, Any] = {}
        external: dict[str, str] = {}
        for field in self._fields(content, at):
            if field.number == _DIMS:
                dims += packed(field.read(content)) if field.value is None else [field.value]
            elif field.number in (_DATA_TYPE, _DATA_LOCATION):
                found[field.number] = field.value
            elif field.number == _RAW_DATA:
                found[_RAW_DATA] = field.end - field.start
            elif field.number == _EXTERNAL_DATA:
                entry = {one.number: one.read(content).decode() for one in self._fields(content, field)}
                external[entry.get(1, "")] = entry.get(2, "")
        if found.get(_DATA_LOCATION) == 1 or external:
            found[_RAW_DATA] = self._external(external)
        self._check_size(dims, found.get(_DATA_TYPE, 0), found.get(_RAW_DATA))

    def _check_size(self, dims: list[int], data_type: int, size: int | None) -> None:
        """Typed data (``float_data`` and the like) have no size here; runtimes count them."""
        bits = _BITS.get(data_type)
        if size is not None and bits is not None and math.prod(dims) * bits // 8 != size:
            raise MalformedMessage(f"a tensor of shape {dims} and data type {data_type} has {size} bytes")

    def _external(self, entries: dict[str, str]) -> int | None:
        """Check one reference to a file beside the model; return its size where it says it."""
        location = entries.get("location", "")
        place = PurePosixPath(location)
        file = self._file.parent / location
        inside = self._root.is_dir() and file.resolve().is_relative_to(self._root.resolve())
        if not location or place.is_absolute() or ".." in place.parts or "\\" in location or not inside:
            reason = f"external data at {location!r} would lie outside the version; keep it beside {self._file.name}"
            raise PathRefused(f"{self._name}: {self._file.name}", reason)
        if not file.is_file():
            raise MalformedMessage(f"its external data {location!r} are missing")
        self.external_files[location] = file
        numbers = {key: entries[key] for key in ("offset", "length") if entries.get(key)}
        if not all(value.isascii() and value.isdigit() and len(value) <= _MOST_DIGITS for value in numbers.values()):
            raise MalformedMessage(f"its external data {location!r} are at {numbers}")
        offset, size = int(numbers.get("offset", 0)), file.stat().st_size
        length = int(numbers["length"]) if "length" in numbers else max(0, size - offset)
        if offset + length > size:
            raise MalformedMessage(
                f"external data end at byte {offset + length} of {location!r}, which has {size} bytes"
            )
        return length
