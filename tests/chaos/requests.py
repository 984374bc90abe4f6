"""The requests of a run: what each holds, and what kind of answer it must have. Pure: the same number, the same
bytes."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

import numpy as np

from pipeline.codecs.avro_codec import AvroCodec
from pipeline.records import PredictRequest
from pipeline.tensors import from_array

STREAM = "factor"
# The row on which the model raises.
THIRTEEN = 13.0
# What ordinary rows hold stays below this, and is never thirteen.
LARGEST = 1000
_CODEC = AvroCodec()
_LONG_AGO_MS = 1


class Kind(StrEnum):
    """What must come of a request: a result, or the error with just this code."""

    RESULT = "result"
    UNDECODABLE = "undecodable"
    UNKNOWN_SERVABLE = "unknown_servable"
    MODEL_ERROR = "model_error"
    WRONG_SHAPE = "wrong_shape"
    DEADLINE_EXCEEDED = "deadline_exceeded"


POISON = tuple(kind for kind in Kind if kind is not Kind.RESULT)


@dataclass(frozen=True)
class Asked:
    """One request: the ``sequence``-th of its key, counted from 0."""

    key: str
    sequence: int
    kind: Kind

    @property
    def id(self) -> str:
        """Unique in the run."""
        return f"{self.key}.{self.sequence}"

    @property
    def row(self) -> float:
        """What it asks about."""
        return THIRTEEN if self.kind is Kind.MODEL_ERROR else float(self.sequence % LARGEST) + 0.5

    @property
    def value(self) -> bytes:
        """The record's value."""
        if self.kind is Kind.UNDECODABLE:
            return f"no request, {self.id}".encode()
        width = 2 if self.kind is Kind.WRONG_SHAPE else 1
        return _CODEC.encode_request(
            PredictRequest(
                self.id,
                servable="nobody" if self.kind is Kind.UNKNOWN_SERVABLE else STREAM,
                deadline_ms=_LONG_AGO_MS if self.kind is Kind.DEADLINE_EXCEEDED else None,
                inputs=(from_array("x", np.full((1, width), self.row, np.float32)),),
            )
        )

    @property
    def headers(self) -> list[tuple[str, bytes]]:
        """The record's headers: what can not be decoded has its id here."""
        return [("x-request-id", self.id.encode())] if self.kind is Kind.UNDECODABLE else []

    def is_answered_by(self, version: int, row: float) -> bool:
        """Whether a version's output is right: its number times the row."""
        return row == np.float32(self.row) * np.float32(version)
