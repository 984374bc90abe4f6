"""The contract of a codec: bytes of one record to a request or a result, and back."""

from __future__ import annotations

from typing import Protocol

import msgspec

from pipeline.records import PredictRequest, PredictResult


class Limits(msgspec.Struct, frozen=True):
    """What a codec may accept; checked before anything is allocated for it."""

    max_record_bytes: int = 16 * 1024 * 1024
    max_tensors: int = 64


class Codec(Protocol):
    """One wire format. Stateless after construction; called from any thread, several at once."""

    @property
    def content_type(self) -> str:
        """The media type that names this format in a record's ``content-type`` header."""
        ...

    def recognises(self, value: bytes) -> bool:
        """Return whether the first bytes are this format's own; cheap, and never raises."""
        ...

    def decode_request(self, value: bytes, limits: Limits) -> PredictRequest:
        """Return the request, every tensor checked; raises BadRequest, and nothing else, for any bytes at all."""
        ...

    def encode_request(self, request: PredictRequest) -> bytes:
        """Return the bytes that ``decode_request`` turns into an equal request."""
        ...

    def decode_result(self, value: bytes) -> PredictResult:
        """Return the result; raises Undecodable, and nothing else, for any bytes at all."""
        ...

    def encode_result(self, result: PredictResult) -> bytes:
        """Return the bytes that ``decode_result`` turns into an equal result."""
        ...
