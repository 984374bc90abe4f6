"""A codec of a plugin, held to what it may raise."""

from __future__ import annotations

from pipeline.codecs.codec import Codec, Limits
from pipeline.errors import NotRepresentable, PenstockError, Undecodable
from pipeline.records import PredictRequest, PredictResult


class Guarded:
    """See Codec: another one, of which a fault costs one record, and never the worker.

    What it raises that its contract does not allow becomes Undecodable, or NotRepresentable where it writes, with the
    name of the plugin and what was raised.
    """

    def __init__(self, name: str, codec: Codec) -> None:
        self.content_type = codec.content_type
        self._name, self._codec = name, codec

    def recognises(self, value: bytes) -> bool:
        """See Codec; False where it raises."""
        try:
            return self._codec.recognises(value)
        except Exception:  # noqa: BLE001  # by contract it never raises; whoever does has not recognised anything
            return False

    def decode_request(self, value: bytes, limits: Limits) -> PredictRequest:
        """See Codec."""
        try:
            return self._codec.decode_request(value, limits)
        except PenstockError:
            raise
        except Exception as error:
            raise Undecodable(self._fault(error)) from error

    def encode_request(self, request: PredictRequest) -> bytes:
        """See Codec."""
        try:
            return self._codec.encode_request(request)
        except PenstockError:
            raise
        except Exception as error:
            raise NotRepresentable(self._fault(error)) from error

    def decode_result(self, value: bytes) -> PredictResult:
        """See Codec."""
        try:
            return self._codec.decode_result(value)
        except PenstockError:
            raise
        except Exception as error:
            raise Undecodable(self._fault(error)) from error

    def encode_result(self, result: PredictResult) -> bytes:
        """See Codec."""
        try:
            return self._codec.encode_result(result)
        except PenstockError:
            raise
        except Exception as error:
            raise NotRepresentable(self._fault(error)) from error

    def _fault(self, error: Exception) -> str:
        return f"its codec has a fault: {self._name!r} raised {type(error).__name__}: {error}"
