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
    """One wire format, found by entry point in ``penstock.codecs``; made without arguments, cheap to make.

    Called from any thread, several at once: what it remembers of one record changes nothing about the next.
    """

    @property
    def content_type(self) -> str:
        """The media type that names this format in a record's ``content-type`` header.

        In small letters, without parameters; no other codec has it.
        """
        ...

    def recognises(self, value: bytes) -> bool:
        """Return whether the first bytes are this format's own, and no other's; cheap, and never raises.

        Asked of records without a content type; False where they might be anything.
        """
        ...

    def decode_request(self, value: bytes, limits: Limits) -> PredictRequest:
        """Return the request, every tensor checked; raises BadRequest, and nothing else, for any bytes at all.

        What it allocates is bounded by the bytes that there are, and by ``limits``, whatever lengths stand in them.
        """
        ...

    def encode_request(self, request: PredictRequest) -> bytes:
        """Return the bytes that ``decode_request`` turns into an equal request.

        Raises NotRepresentable, and nothing else, for one that has no form in this format.
        """
        ...

    def decode_result(self, value: bytes) -> PredictResult:
        """Return the result; raises Undecodable, and nothing else, for any bytes at all."""
        ...

    def encode_result(self, result: PredictResult) -> bytes:
        """Return the bytes that ``decode_result`` turns into an equal result; one with an error is still one.

        Raises NotRepresentable, and nothing else, for outputs that have no form in this format; never for an error.
        """
        ...
