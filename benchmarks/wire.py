"""What requests and results look like on the topics: Avro, or the JSON of the Open Inference Protocol (V2).

Whatever the wire, a record is the same datum here: ``schemas/``'s, with the tensors' data as little-endian bytes.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, Protocol

import numpy as np

from benchmarks import model
from benchmarks.avro_records import AvroRecord

if TYPE_CHECKING:
    from collections.abc import Mapping

    from benchmarks.avro_records import Datum

AVRO: Final = "avro"
V2_JSON: Final = "v2-json"
NAMES: Final = (AVRO, V2_JSON)


class Record(Protocol):
    """One record type on one wire."""

    def encode(self, datum: Datum) -> bytes:
        """Return the bytes of a record."""
        ...

    def decode(self, value: bytes | None) -> Datum:
        """Return the record; ValueError for other bytes."""
        ...


@dataclass(frozen=True)
class Wire:
    """Both record types, and the headers that a request has."""

    request: Record
    result: Record
    headers: Mapping[str, str] = field(default_factory=dict)


class V2JsonRecord:
    """A request or a result of FP32 tensors; floats are written as numpy's ``tolist`` gives them."""

    def __init__(self, tensors: str) -> None:
        """``tensors``: the field that has them, ``inputs`` or ``outputs``."""
        self._tensors = tensors

    def encode(self, datum: Datum) -> bytes:
        """See Record."""
        tensors = [{**tensor, "data": np.frombuffer(tensor["data"], "<f4").tolist()} for tensor in datum[self._tensors]]
        return json.dumps({**datum, self._tensors: tensors}).encode()

    def decode(self, value: bytes | None) -> Datum:
        """See Record: an ``error`` of None is that of a result without one."""
        body: dict[str, Any] = json.loads(value or b"")
        tensors = [
            {**tensor, "data": np.asarray(tensor["data"], "<f4").tobytes()} for tensor in body.get(self._tensors) or ()
        ]
        return {"error": None, **body, self._tensors: tensors}


def named(name: str) -> Wire:
    """Return a wire of NAMES."""
    if name == AVRO:
        return Wire(AvroRecord("PredictRequest"), AvroRecord("PredictResult"))
    return Wire(V2JsonRecord("inputs"), V2JsonRecord("outputs"), {"mlserver-model": model.NAME})
