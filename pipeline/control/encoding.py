"""Control records as bytes: keys, values in Avro's single-object framing, and what a schema cannot check."""

from __future__ import annotations

from typing import Any, Final, TypeVar

import msgspec

from pipeline.codecs import schemas
from pipeline.errors import Undecodable
from pipeline.records import AspiredVersions, ServableState, StreamState, WorkerState

Record = TypeVar("Record", AspiredVersions, ServableState, WorkerState)

# The value that makes a compacted topic forget a key.
TOMBSTONE: Final = None

# Avro's array without an item.
_NO_STREAMS: Final = b"\x00"


def encode_aspired(aspired: AspiredVersions) -> tuple[bytes, bytes]:
    """Return key and value of one aspiration."""
    return aspired.stream.encode(), schemas.encode("AspiredVersions", _datum(aspired))


def encode_state(state: ServableState) -> tuple[bytes, bytes]:
    """Return key and value of one state."""
    return state.key.encode(), schemas.encode("ServableState", _datum(state))


class WorkerEncoder:
    """Encodes the signs of life of one worker; a thousand streams that have not changed are not encoded again.

    Avro writes the streams, the last field, as one block whose bytes depend on nothing else. Not thread-safe.
    """

    def __init__(self) -> None:
        self._streams: tuple[StreamState, ...] = ()
        self._block = _NO_STREAMS

    def encode(self, worker: WorkerState) -> tuple[bytes, bytes]:
        """Return key and value of one sign of life."""
        if worker.streams != self._streams:
            empty = schemas.encode("WorkerState", _datum(msgspec.structs.replace(worker, streams=())))
            value = schemas.encode("WorkerState", _datum(worker))
            self._streams, self._block = worker.streams, value[len(empty) - len(_NO_STREAMS) :]
        head = schemas.encode("WorkerState", _datum(msgspec.structs.replace(worker, streams=())))
        return worker.key.encode(), head[: -len(_NO_STREAMS)] + self._block


def decode_aspired(key: bytes | None, value: bytes) -> AspiredVersions:
    """Return one aspiration, written by this version of the schema.

    Raises Undecodable also where the record would mislead its readers: a key that is not the stream's name (compaction
    would keep the wrong record), a negative version, a version named twice.
    """
    aspired = _record(AspiredVersions, schemas.decode("AspiredVersions", value))
    if decode_key(key) != aspired.stream:
        raise Undecodable(f"its key {key!r} is not the name of its stream, {aspired.stream!r}")
    numbers = [version.version for version in aspired.versions]
    if any(number < 0 for number in numbers):
        raise Undecodable(f"{aspired.stream}: version {min(numbers)} is negative")
    if len(set(numbers)) != len(numbers):
        raise Undecodable(f"{aspired.stream}: a version is named twice in {numbers}")
    return aspired


def decode_state(value: bytes) -> ServableState | WorkerState:
    """Return one record of the states topic, whichever of the two it is; raises Undecodable."""
    if value.startswith(schemas.prefix("WorkerState")):
        return _record(WorkerState, schemas.decode("WorkerState", value))
    return _record(ServableState, schemas.decode("ServableState", value))


def decode_key(key: bytes | None) -> str:
    """Return a key as text; raises Undecodable where there is none, or where it is not text."""
    if not key:
        raise Undecodable("it has no key")
    try:
        return key.decode()
    except UnicodeDecodeError as error:
        raise Undecodable(f"its key is not UTF-8: {key!r}") from error


def _datum(record: AspiredVersions | ServableState | WorkerState) -> dict[str, Any]:
    datum: dict[str, Any] = msgspec.json.decode(msgspec.json.encode(record))  # lists, where to_builtins keeps tuples
    return datum


def _record(kind: type[Record], datum: dict[str, Any]) -> Record:
    try:
        return msgspec.convert(datum, kind)
    except msgspec.ValidationError as error:
        raise Undecodable(f"not a {kind.__name__}: {error}") from error
