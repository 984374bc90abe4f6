"""The whole data path of a route: decode, group, take a handle, predict, split, encode.

Two steps, so that the next batch can be decoded while this one is computed: ``decode`` on the feeder's thread,
``answer`` on a worker thread. Neither raises for what a record says: a record's problem is its answer.
"""

from __future__ import annotations

import fnmatch
from collections.abc import Mapping, Sequence
from typing import Final, Protocol

import msgspec

from pipeline.clock import Clock
from pipeline.codecs.codec import Codec, Limits
from pipeline.connector import Answer, Record
from pipeline.errors import (
    DeadlineExceeded,
    ModelFailed,
    NoInputs,
    NotReady,
    PenstockError,
    PredictTimedOut,
    RecordTooLarge,
    ReplyRefused,
    ResultTooLarge,
    ServableDied,
    Undecodable,
    UnknownSignature,
)
from pipeline.records import Error, PredictRequest, PredictResult, Source
from pipeline.registry.handle import Handle
from pipeline.registry.servable import Signature
from pipeline.serving import batching, headers, prediction
from pipeline.serving.batching import GroupKey
from pipeline.serving.headers import Envelope
from pipeline.settings import RouteSettings
from pipeline.tensors import Tensor


class Servables(Protocol):
    """Where handles come from; the manager is one."""

    def acquire(self, name: str, version: int | None = None, label: str | None = None) -> Handle:
        """Return a handle without waiting; raises UnknownServable, UnknownVersion, UnknownLabel or NotReady."""
        ...


class Pending(msgspec.Struct, gc=False):
    """One record on its way. With ``error`` set it is refused; ``request`` is None where decoding failed."""

    record: Record
    codec: Codec
    envelope: Envelope
    request: PredictRequest | None = None
    error: PenstockError | None = None


# A group is given up when so many calls in a row have cost it their processes, and so much time: else a model that
# hangs on everything would hold up its route once for each request.
_LOSSES: Final = 4
_LOST_S: Final = 120.0


class _Call(msgspec.Struct):
    """What all requests of a group share; and how many calls in a row have died or hung, and how long that took."""

    handle: Handle
    signature_name: str
    signature: Signature
    names: tuple[str, ...]
    batch: Sequence[Pending]
    answers: list[Answer | None]
    losses: int = 0
    lost_s: float = 0.0


class Dispatcher:
    """Turns the records of one route into answers, one for each, in order. Thread-safe; keeps nothing of a batch."""

    def __init__(self, route: RouteSettings, servables: Servables, codecs: Sequence[Codec], clock: Clock) -> None:
        self._route = route
        self._servables = servables
        self._codecs = tuple(codecs)
        self._by_content_type: Final[Mapping[str, Codec]] = {codec.content_type: codec for codec in codecs}
        self._clock = clock
        self._limits = Limits(route.max_record_bytes, route.max_tensors)

    def decode(self, records: Sequence[Record]) -> list[Pending]:
        """Return one Pending for each record, in order."""
        return [self._decode(record) for record in records]

    def answer(self, batch: Sequence[Pending]) -> list[Answer]:
        """Compute a batch and return its answers, in order. Blocks for as long as the models take."""
        now_ms = self._clock.unix_ms()
        todo: list[tuple[int, PredictRequest]] = []
        for position, pending in enumerate(batch):
            request = pending.request
            if request is None or pending.error is not None:
                continue
            if request.deadline_ms is not None and request.deadline_ms < now_ms:
                pending.error = DeadlineExceeded(request.deadline_ms, now_ms)
            else:
                todo.append((position, request))
        answers: list[Answer | None] = [None] * len(batch)
        for key, positions in batching.group(todo, self._route.servable).items():
            self._answer_group(key, positions, batch, answers)
        return [answer or self._refusal(pending) for answer, pending in zip(answers, batch, strict=True)]

    def refuse(self, record: Record, error: PenstockError) -> Answer:
        """Return the answer to a record whose first answer its broker will not take; see Connector.answer."""
        pending = self._decode(record)
        pending.envelope.reply_topic = pending.envelope.reply_partition = None
        pending.error = error
        return self._refusal(pending)

    # From a record to a request.

    def _decode(self, record: Record) -> Pending:
        pending = Pending(record, self._codecs[0], Envelope())
        try:
            envelope = pending.envelope = headers.read(record.headers, record.timestamp_ms)
            pending.codec = codec = self._codec(record.value, envelope.content_type or self._route.format)
            request = codec.decode_request(record.value, self._limits)
            pending.request = _with_headers(request, envelope) if record.headers else request
            if not request.inputs:
                raise NoInputs
            self._check_reply(envelope)
        except PenstockError as error:
            pending.error = error
        return pending

    def _codec(self, value: bytes, content_type: str) -> Codec:
        if content_type:
            named = self._by_content_type.get(content_type.partition(";")[0].strip().lower())
            if named is None:
                known = ", ".join(self._by_content_type)
                raise Undecodable(f"content type {content_type!r} is unknown; this route reads {known}")
            return named
        for codec in self._codecs:
            if codec.recognises(value):
                return codec
        raise Undecodable(f"its first bytes, {value[:10].hex() or 'none'}, belong to no known format")

    def _check_reply(self, envelope: Envelope) -> None:
        topic = envelope.reply_topic
        if topic is None or topic == self._route.result_topic:
            return
        if not any(fnmatch.fnmatchcase(topic, pattern) for pattern in self._route.reply_topics):
            envelope.reply_topic = envelope.reply_partition = None
            raise ReplyRefused(topic, self._route.reply_topics)

    # From requests to answers.

    def _answer_group(
        self, key: GroupKey, positions: list[int], batch: Sequence[Pending], answers: list[Answer | None]
    ) -> None:
        try:
            with self._servables.acquire(key.servable, key.version, key.label) as handle:
                signatures = handle.servable.signatures
                signature = signatures.get(key.signature)
                if signature is None:
                    raise UnknownSignature(str(handle.id), key.signature, tuple(signatures))
                names = batching.match(str(handle.id), signature, key.layout)
                self._answer_matched(_Call(handle, key.signature, signature, names, batch, answers), positions)
        except PenstockError as error:
            for position in positions:
                batch[position].error = error

    def _answer_matched(self, call: _Call, positions: list[int]) -> None:
        members: list[tuple[int, int]] = []
        for position in positions:
            try:
                count = batching.rows(str(call.handle.id), call.signature, call.names, _inputs(call, position))
            except PenstockError as error:
                call.batch[position].error = error
            else:
                members.append((position, count))
        if call.signature.batched:
            if members:
                self._predict(call, members)
        else:
            for member in members:
                self._predict(call, [member])

    def _predict(self, call: _Call, members: list[tuple[int, int]]) -> None:
        """Answer some members of a group by one prediction; a batch that fails is split until its culprit is alone."""
        if call.losses >= _LOSSES and call.lost_s >= _LOST_S:
            reason = f"not tried: the last {call.losses} calls died or hung, which took {call.lost_s:.0f} s"
            for position, _ in members:
                call.batch[position].error = NotReady(str(call.handle.id), (reason,))
            return
        started_s = self._clock.monotonic_s()
        started_ms = self._clock.unix_ms()
        try:
            requests = [_inputs(call, position) for position, _ in members]
            counts = [count for _, count in members]
            outputs = prediction.run(call.handle.servable, call.signature_name, call.names, requests, counts)
        except Exception as error:  # noqa: BLE001  # a servable may raise anything; it becomes the culprit's answer
            if isinstance(error, ServableDied | PredictTimedOut):
                call.losses, call.lost_s = call.losses + 1, call.lost_s + self._clock.monotonic_s() - started_s
            if len(members) > 1:
                for part in batching.divide(members, error):
                    self._predict(call, part)
            else:
                call.batch[members[0][0]].error = prediction.as_error(str(call.handle.id), error)
            return
        call.losses, call.lost_s = 0, 0.0
        compute_us = int((self._clock.monotonic_s() - started_s) * 1e6)
        try:
            cut = prediction.cut(str(call.handle.id), call.signature, outputs, counts)
        except ModelFailed as error:
            for position, _ in members:
                call.batch[position].error = error
            return
        for (position, _), tensors in zip(members, cut, strict=True):
            call.answers[position] = self._success(call, call.batch[position], tensors, started_ms, compute_us)

    def _success(
        self, call: _Call, pending: Pending, outputs: tuple[Tensor, ...], started_ms: int, compute_us: int
    ) -> Answer | None:
        """Return the answer with these outputs, or None after setting ``pending.error``."""
        record, request, id_ = pending.record, pending.request, call.handle.id
        result = PredictResult(
            "" if request is None else request.id,
            id_.name,
            id_.version,
            outputs,
            None,
            Source(record.topic, record.partition, record.offset),
            call.handle.digest,
            max(0, started_ms - record.timestamp_ms) * 1000,
            compute_us,
        )
        value = pending.codec.encode_result(result)
        if len(value) > self._route.max_result_bytes:
            pending.error = ResultTooLarge(str(id_), len(value), self._route.max_result_bytes)
            return None
        if not record.headers:
            return Answer(value, record.key, ())
        envelope = pending.envelope
        echoed = headers.echo(record.headers)
        return Answer(value, record.key, echoed, envelope.reply_topic, envelope.reply_partition)

    def _refusal(self, pending: Pending) -> Answer:
        """Return the error result of a request, and a dead letter where its own bytes are at fault."""
        record, request, envelope = pending.record, pending.request, pending.envelope
        error = Error.of(pending.error or ModelFailed(self._route.servable, "no answer was computed"))
        result = PredictResult(
            id=request.id if request is not None else envelope.id,
            servable=(request and request.servable) or envelope.servable or self._route.servable,
            version=request.version if request is not None else None,
            error=error,
            source=Source(record.topic, record.partition, record.offset),
        )
        return Answer(
            pending.codec.encode_result(result),
            record.key,
            [*headers.echo(record.headers), ("status", b"error"), ("error-code", error.code.encode())],
            envelope.reply_topic,
            envelope.reply_partition,
            error if isinstance(pending.error, Undecodable | RecordTooLarge) else None,
        )


def _inputs(call: _Call, position: int) -> tuple[Tensor, ...]:
    request = call.batch[position].request
    return () if request is None else request.inputs


def _with_headers(request: PredictRequest, envelope: Envelope) -> PredictRequest:
    """Return the request with what its body leaves open taken from its headers."""
    changes: dict[str, object] = {}
    if envelope.id and not request.id:
        changes["id"] = envelope.id
    if envelope.servable and not request.servable:
        changes["servable"] = envelope.servable
    if envelope.version and request.version is None and request.label is None:
        # The header holds a number or a label.
        number = envelope.version.isascii() and envelope.version.isdigit()
        changes["version" if number else "label"] = int(envelope.version) if number else envelope.version
    if envelope.deadline_ms is not None and request.deadline_ms is None:
        changes["deadline_ms"] = envelope.deadline_ms
    return msgspec.structs.replace(request, **changes) if changes else request
