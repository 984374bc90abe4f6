"""Which file of a version is the model, and in which format."""

from __future__ import annotations

import enum
import json
from pathlib import Path
from typing import Final, NamedTuple

import msgspec

from pipeline.errors import InvalidArtefact

FROZEN: Final = "frozen_inference_graph.pb"
SAVED_MODEL: Final = "saved_model.pb"
GRAPH_META: Final = "graph_meta.json"
LOOKS_FOR: Final = (
    "model.xml with model.bin, or a single *.xml with its *.bin, or a single *.onnx, or a frozen graph (a single *.pb)"
)


class Format(enum.Enum):
    """The formats that OpenVINO reads."""

    IR = "ir"
    ONNX = "onnx"
    FROZEN_GRAPH = "frozen graph"
    SAVED_MODEL = "SavedModel"


class ModelFile(NamedTuple):
    """``path`` is what OpenVINO is asked to read: a file, or the directory of a SavedModel."""

    path: Path
    format: Format


class GraphMeta(msgspec.Struct, frozen=True):
    """What ``graph_meta.json`` says of a frozen graph: the tensors that are its inputs and outputs, in order."""

    input_names: tuple[str, ...]
    output_names: tuple[str, ...]


def find(path: Path) -> ModelFile | None:
    """Return the model of a version, None where there is none, or too many to choose from. Reads names only."""
    if path.is_file():
        formats = {".onnx": Format.ONNX, ".pb": Format.FROZEN_GRAPH}
        return ModelFile(path, formats[path.suffix]) if path.suffix in formats else None
    for suffix, format_ in ((".xml", Format.IR), (".onnx", Format.ONNX)):
        if (path / f"model{suffix}").is_file():
            return ModelFile(path / f"model{suffix}", format_)
        files = list(path.glob(f"*{suffix}"))
        if files:
            return ModelFile(files[0], format_) if len(files) == 1 else None
    if (path / SAVED_MODEL).is_file():
        return ModelFile(path, Format.SAVED_MODEL)
    graphs = [path / FROZEN] if (path / FROZEN).is_file() else list(path.glob("*.pb"))
    return ModelFile(graphs[0], Format.FROZEN_GRAPH) if len(graphs) == 1 else None


def size_bytes(path: Path) -> int:
    """Return the size of a version's files together."""
    files = [path] if path.is_file() else path.rglob("*")
    return sum(file.stat().st_size for file in files if file.is_file())


def read_graph_meta(name: str, graph: Path) -> GraphMeta | None:
    """Return what stands beside a frozen graph, None where nothing does; raises InvalidArtefact."""
    file = graph.with_name(GRAPH_META)
    if not file.is_file():
        return None
    try:
        meta = msgspec.json.decode(file.read_bytes(), type=GraphMeta)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        example = json.dumps({"input_names": ["x:0"], "output_names": ["y:0"]})
        raise InvalidArtefact(name, f"{GRAPH_META}: {error}; expected such as {example}") from error
    if not (meta.input_names and meta.output_names):
        raise InvalidArtefact(name, f"{GRAPH_META}: input_names and output_names must both name a tensor")
    return meta
