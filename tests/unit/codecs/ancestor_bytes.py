"""Requests byte for byte as the ancestor's clients write them, and results as they read them."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from pipeline.codecs.cluster_serving import flat_buffer

TENSOR = pa.struct(
    [
        ("indiceData", pa.list_(pa.int32())),
        ("indiceShape", pa.list_(pa.int32())),
        ("data", pa.list_(pa.float32())),
        ("shape", pa.list_(pa.int32())),
    ]
)


def tensor(array: Any) -> Any:
    """A dense tensor: one struct over four rows, each with one of its lists."""
    array = np.asarray(array, np.float32)
    return _struct([], [], array.ravel().tolist(), list(array.shape))


def sparse(indices: Any, values: Sequence[float], shape: Sequence[int]) -> Any:
    """A sparse tensor."""
    indices = np.asarray(indices)
    return _struct(indices.ravel().tolist(), list(indices.shape), list(values), list(shape))


def text(*texts: str) -> Any:
    """A list of texts, or an image in base64."""
    return pa.array(["|".join(texts)])


def _struct(*lists: list[Any]) -> Any:
    names = [field.name for field in TENSOR]
    return pa.array([{name: elements} for name, elements in zip(names, lists, strict=True)], TENSOR)


def stream(columns: Mapping[str, Any], **options: Any) -> bytes:
    """An Arrow stream of one batch."""
    batch = pa.record_batch(list(columns.values()), names=list(columns))
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, batch.schema, **options) as writer:
        writer.write_batch(batch)
    return bytes(sink.getvalue())


def file_of(name: str, *arrays: Any) -> bytes:
    """The Arrow file that the old `enqueue_tensor` writes: one batch a tensor, all with one column."""
    kind = pa.struct([("data", pa.list_(pa.float32())), ("shape", pa.list_(pa.int64()))])
    sink = pa.BufferOutputStream()
    with pa.ipc.new_file(sink, pa.schema([(name, kind)])) as writer:
        for array in arrays:
            elements = np.asarray(array, np.float32).ravel().tolist()
            rows = [{"data": elements}, {"shape": list(np.shape(array))}]
            writer.write_batch(pa.record_batch([pa.array(rows, kind)], names=[name]))
    return bytes(sink.getvalue())


def jvm_stream(name: str, array: Any) -> bytes:
    """A tensor as a JVM client writes it: each scalar a list of its own, and a struct of one row above them all.

    No writer of pyarrow makes such a struct, so one with as many rows as the longest child is written, and the lengths
    in its metadata are set to those that a JVM writes.
    """
    array = np.asarray(array, np.float32)
    kind = pa.struct(
        [
            ("shape", pa.list_(pa.int32())),
            ("data", pa.list_(pa.float32())),
            ("indiceData", pa.list_(pa.int32())),
            ("indiceShape", pa.list_(pa.int32())),
        ]
    )
    shape, data = [[axis] for axis in array.shape], [[element] for element in array.ravel().tolist()]
    rows = [
        {
            "shape": shape[row] if row < len(shape) else [],
            "data": data[row] if row < len(data) else [],
            "indiceData": [],
            "indiceShape": [],
        }
        for row in range(max(len(shape), len(data)))
    ]
    written = bytearray(stream({name: pa.array(rows, kind)}))
    at = 8 + int.from_bytes(written[4:8], "little")  # behind the schema
    metadata = bytes(written[at + 8 : at + 8 + int.from_bytes(written[at + 4 : at + 8], "little")])
    header = flat_buffer.root(metadata).table(2)
    lengths = [1, len(shape), len(shape), len(data), len(data), 0, 0, 0, 0]
    assert len(header.pairs(1)) == len(lengths)
    rows_at = at + 8 + header._place(0)  # only tests write
    written[rows_at : rows_at + 8] = (1).to_bytes(8, "little")
    old = b"".join(length.to_bytes(8, "little") + nulls.to_bytes(8, "little") for length, nulls in header.pairs(1))
    new = b"".join(length.to_bytes(8, "little") + bytes(8) for length in lengths)
    place = metadata.index(old)
    written[at + 8 + place : at + 8 + place + len(old)] = new
    return bytes(written)


def entry(uri: Any, data: bytes | str, **more: str) -> bytes:
    """A request as it stands on a topic."""
    text = base64.b64encode(data).decode() if isinstance(data, bytes) else data
    return json.dumps({"uri": uri, "data": text, **more}).encode()


def decoded(value: bytes) -> Any:
    """What their client makes of a result: the text "NaN", an array, or a list of arrays."""
    if value == b"NaN":
        return "NaN"
    batches = list(pa.ipc.open_stream(base64.b64decode(value, validate=True)))
    arrays = [
        batch.column(0).to_numpy().reshape([axis for axis in batch.column(1).to_pylist() if axis]) for batch in batches
    ]
    return arrays[0] if len(arrays) == 1 else arrays


def http_decoded(body: bytes | str) -> Any:
    """What their `http_json_to_ndarray` makes of the body of an answer: of its first prediction."""
    found = json.loads(json.loads(json.loads(body)["predictions"][0])["value"])
    return np.array(found["data"]).reshape(found["shape"])
