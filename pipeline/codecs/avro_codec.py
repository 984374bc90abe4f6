"""Avro: the default format, and the hot path.

A record of our own schema is read and written by hand (``avro_reading``, ``avro_writing``), whatever names the schema:
single-object encoding before it, or Confluent's id or GUID, where a registry is set. A record of another (older or
newer) schema that the registry knows goes through Apache Avro's resolution; one that only another fingerprint names is
refused. Tests compare this codec with Apache Avro in both directions on generated records.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from pipeline.codecs import confluent, schemas
from pipeline.codecs.avro_framing import AvroFraming
from pipeline.codecs.avro_reading import RequestReader, read_result
from pipeline.codecs.avro_writing import write_request, write_result
from pipeline.codecs.codec import Limits
from pipeline.codecs.confluent import WriterSchemas
from pipeline.errors import RecordTooLarge, TooManyTensors, Undecodable
from pipeline.records import Error, PredictRequest, PredictResult, Source
from pipeline.tensors import Tensor

_REQUEST: Final = "PredictRequest"
_RESULT: Final = "PredictResult"
_NO_REGISTRY: Final = "a registry's schema names it, and no schema registry is set; set schema_registry.url"

Headers = tuple[tuple[str, bytes], ...]


class AvroCodec:
    """See Codec. ``schemas_by_name`` are those of a schema registry.

    ``requests`` and ``results`` say how what is written is framed.
    """

    content_type = "application/avro"

    def __init__(
        self,
        schemas_by_name: WriterSchemas | None = None,
        *,
        requests: AvroFraming | None = None,
        results: AvroFraming | None = None,
    ) -> None:
        self._request_prefix = schemas.prefix(_REQUEST)
        self._result_prefix = schemas.prefix(_RESULT)
        self._by_name = schemas_by_name
        self._requests, self._results = requests or AvroFraming(), results or AvroFraming()
        self._own = RequestReader(schemas.PREFIX_BYTES)
        self._named = {at: RequestReader(at) for at in (0, confluent.ID_BYTES, confluent.GUID_BYTES)}

    @property
    def reads_names(self) -> bool:
        """Whether there is a registry that knows the schemas of names."""
        return self._by_name is not None

    def recognises(self, value: bytes) -> bool:
        """See Codec: the magic of single-object encoding; with a registry, Confluent's too."""
        return value[:2] == schemas.MAGIC or (self.reads_names and confluent.leads(value))

    def decode_request(self, value: bytes, limits: Limits) -> PredictRequest:
        """See Codec. Also raises SchemaUnavailable: its schema is not known yet, it may be decoded later."""
        if len(value) > limits.max_record_bytes:
            raise RecordTooLarge(len(value), limits.max_record_bytes)
        if value.startswith(self._request_prefix):
            return self._own.read(value, limits)
        if confluent.leads(value):
            name = confluent.name_before(value)
            return self._request_named(name, value, len(name), limits)
        raise schemas.of_another_schema(_REQUEST, value)

    def decode_request_of(self, name: bytes, value: bytes, limits: Limits) -> PredictRequest:
        """Return the request in bytes without a prefix, whose schema a header names; raises as ``decode_request``."""
        if len(value) > limits.max_record_bytes:
            raise RecordTooLarge(len(value), limits.max_record_bytes)
        return self._request_named(confluent.name_in_header(name), value, 0, limits)

    def encode_request(self, request: PredictRequest) -> bytes:
        """See Codec: in a framing that needs no header."""
        return write_request(self._requests.prefix or self._request_prefix, request)

    def decode_result(self, value: bytes) -> PredictResult:
        """See Codec. Also raises SchemaUnavailable, as ``decode_request`` does."""
        if value.startswith(self._result_prefix):
            return read_result(value, schemas.PREFIX_BYTES)
        if confluent.leads(value):
            name = confluent.name_before(value)
            return self._result_named(name, value, len(name))
        raise schemas.of_another_schema(_RESULT, value)

    def decode_result_of(self, name: bytes, value: bytes) -> PredictResult:
        """Return the result in bytes without a prefix, whose schema a header names; raises as ``decode_result``."""
        return self._result_named(confluent.name_in_header(name), value, 0)

    def encode_result(self, result: PredictResult) -> bytes:
        """See Codec: in a framing that needs no header."""
        return write_result(self._results.prefix or self._result_prefix, result)

    def frame_request(self, request: PredictRequest) -> tuple[bytes, Headers]:
        """Return a request as it is set that it goes out, and the headers that its readers need."""
        prefix = self._requests.prefix
        return write_request(self._request_prefix if prefix is None else prefix, request), self._requests.headers

    def frame_result(self, result: PredictResult) -> tuple[bytes, Headers]:
        """Return a result as it is set that it goes out, and the headers that its readers need."""
        prefix = self._results.prefix
        return write_result(self._result_prefix if prefix is None else prefix, result), self._results.headers

    def _request_named(self, name: bytes, value: bytes, at: int, limits: Limits) -> PredictRequest:
        if self._by_name is None:
            raise Undecodable(_NO_REGISTRY)
        writer = self._by_name.find(name)
        if writer.prefix == self._request_prefix:
            return self._named[at].read(value, limits)
        return _request_of(schemas.resolve(_REQUEST, writer.schema, value, at), limits)

    def _result_named(self, name: bytes, value: bytes, at: int) -> PredictResult:
        if self._by_name is None:
            raise Undecodable(_NO_REGISTRY)
        writer = self._by_name.find(name)
        if writer.prefix == self._result_prefix:
            return read_result(value, at)
        return _result_of(schemas.resolve(_RESULT, writer.schema, value, at))


# Other writer schemas: the dicts that Apache Avro returns.


def tensors_of(items: list[Mapping[str, Any]]) -> tuple[Tensor, ...]:
    """Return the tensors of an array that Apache Avro has read, each checked; raises Undecodable."""
    tensors = tuple(Tensor(i["name"], i["datatype"], tuple(i["shape"]), i["data"]) for i in items)
    for tensor in tensors:
        tensor.check()
    return tensors


def _request_of(datum: dict[str, Any], limits: Limits) -> PredictRequest:
    if len(datum["inputs"]) > limits.max_tensors:
        raise TooManyTensors(len(datum["inputs"]), limits.max_tensors)
    return PredictRequest(**{**datum, "inputs": tensors_of(datum["inputs"])})


def _result_of(datum: dict[str, Any]) -> PredictResult:
    error, source = datum["error"], datum["source"]
    return PredictResult(
        **{
            **datum,
            "outputs": tensors_of(datum["outputs"]),
            "error": error and Error(**error),
            "source": source and Source(**source),
        }
    )
