"""TensorFlow's graphs looked over before OpenVINO reads them: protocol buffers whose constants have their size."""

from __future__ import annotations

from pathlib import Path
from typing import IO, Final

from pipeline.errors import InvalidArtefact
from pipeline.servables.protobuf import Field, MalformedMessage, fields

# Messages of TensorFlow's graph.proto and saved_model.proto: the fields that hold messages, and of which kind.
_OPERATION, _ATTRIBUTE, _KEY = 2, 5, 1
_CALLS: Final = ("PartitionedCall", "StatefulPartitionedCall")
_MESSAGES: Final[dict[str, dict[int, str]]] = {
    "SavedModel": {2: "MetaGraphDef"},
    "MetaGraphDef": {2: "GraphDef"},
    "GraphDef": {1: "NodeDef", 2: "FunctionDefLibrary"},
    "FunctionDefLibrary": {1: "FunctionDef"},
    "FunctionDef": {3: "NodeDef"},
}


def check_saved_model(name: str, file: Path) -> None:
    """Raise InvalidArtefact unless ``saved_model.pb`` is a SavedModel in its structure. Reads numbers, no weights."""
    _check(name, file, "SavedModel")


def check_graph(name: str, file: Path) -> None:
    """Raise InvalidArtefact unless a frozen graph is a GraphDef in its structure. Reads numbers, no weights."""
    _check(name, file, "GraphDef")


def _check(name: str, file: Path, kind: str) -> None:
    try:
        with file.open("rb") as content:
            nodes = _walk(content, kind, Field(0, None, 0, file.stat().st_size))
    except MalformedMessage as error:
        raise InvalidArtefact(name, f"{file.name} is no {kind}: {error}") from error
    if not nodes:
        raise InvalidArtefact(name, f"{file.name} is no {kind}: it has no nodes")


def _walk(content: IO[bytes], kind: str, at: Field) -> int:
    """Walk through one message and return how many nodes it has."""
    if at.value is not None:
        raise MalformedMessage(f"a {kind} at byte {at.start} is a number")
    if kind == "NodeDef":
        _check_node(content, at)
        return 1
    nodes = 0
    for field in fields(content, at.start, at.end):
        inner = _MESSAGES[kind].get(field.number)
        if inner is not None:
            nodes += _walk(content, inner, field)
    return nodes


def _check_node(content: IO[bytes], at: Field) -> None:
    """A call without the name of its function takes OpenVINO 2026.4 down with the whole process."""
    operation, attributes = b"", set()
    for field in fields(content, at.start, at.end):
        if field.number == _OPERATION:
            operation = field.read(content)
        elif field.number == _ATTRIBUTE and field.value is None:
            attributes |= {one.read(content) for one in fields(content, field.start, field.end) if one.number == _KEY}
    if operation.decode(errors="replace") in _CALLS and b"f" not in attributes:
        raise MalformedMessage(f"a node at byte {at.start} calls a function and does not name it")
