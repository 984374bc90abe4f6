"""The whole data path of a route: decode, group, take a handle, compute, encode.

Two steps, so that the next batch can be decoded while this one is computed: ``decode`` on the feeder's thread,
``answer`` on a worker thread. Neither raises for what a record says: a record's problem is its answer.
"""

from __future__ import annotations

import fnmatch
import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Final, Protocol

import msgspec

from pipeline.clock import Clock
from pipeline.codecs.codec import Codec, Limits
from pipeline.connector import Answer, Record
from pipeline.errors import (
    CircuitOpen,
    DeadlineExceeded,
    ModelFailed,
    NoInputs,
    PenstockError,
    RecordTooLarge,
    ReplyRefused,
    ResultTooLarge,
    Undecodable,
)
from pipeline.records import Error, PredictRequest, PredictResult, Source
from pipeline.registry.handle import Handle
from pipeline.serving import batching, headers
from pipeline.serving.batching import Layout, Target
from pipeline.serving.computation import Outcome, compute
from pipeline.serving.form import Form, form_of
from pipeline.serving.headers import Envelope
from pipeline.serving.plan import Member
from pipeline.settings import BatchingSettings, RouteSettings


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


# Of an error result whose first form was refused: characters of a text, bytes of the key, or of all headers.
_LONGEST_TEXT: Final = 1000
_LONGEST_ASIDE_BYTES: Final = 64 * 1024

# What the settings of a stream say of its batches; asked once a batch, so they may change at run time.
BatchingOf = Callable[[str], BatchingSettings]


def _as_declared(_stream: str) -> BatchingSettings:
    return BatchingSettings()


class Dispatcher:
    """Turns the records of one route into answers, one for each, in order. Thread-safe; keeps nothing of a batch."""

    def __init__(
        self,
        route: RouteSettings,
        servables: Servables,
        codecs: Sequence[Codec],
        clock: Clock,
        batching_of: BatchingOf = _as_declared,
    ) -> None:
        self._route = route
        self._servables = servables
        self._codecs = tuple(codecs)
        self._by_content_type: Final[Mapping[str, Codec]] = {codec.content_type: codec for codec in codecs}
        self._clock = clock
        self._batching_of = batching_of
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
        groups = batching.group(todo, self._route.servable)
        for target, keys in batching.by_target(groups).items():
            self._answer_target(target, {key.layout: groups[key] for key in keys}, batch, answers)
        return [answer or self._refusal(pending) for answer, pending in zip(answers, batch, strict=True)]

    def refuse(self, record: Record, error: PenstockError) -> Answer:
        """Return the answer to a record whose first answer its broker will not take; see Connector.answer.

        It repeats nothing long of the request, so that this one is taken whatever was too large about the first.
        """
        pending = self._decode(record)
        envelope, request = pending.envelope, pending.request
        envelope.reply_topic = envelope.reply_partition = None
        envelope.id, envelope.servable = envelope.id[:_LONGEST_TEXT], envelope.servable[:_LONGEST_TEXT]
        if request is not None:
            id_, servable = request.id[:_LONGEST_TEXT], request.servable[:_LONGEST_TEXT]
            pending.request = msgspec.structs.replace(request, id=id_, servable=servable, inputs=())
        pending.error = error
        return _without_long(self._refusal(pending))

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

    def _answer_target(
        self,
        target: Target,
        layouts: Mapping[Layout, list[int]],
        batch: Sequence[Pending],
        answers: list[Answer | None],
    ) -> None:
        try:
            with self._servables.acquire(target.servable, target.version, target.label) as handle:
                settings = self._batching_of(target.servable)
                form = form_of(str(handle.id), handle.servable, target.signature, settings)
                members: list[tuple[int, Member]] = []
                for layout, positions in layouts.items():
                    members += _members(form, layout, positions, batch)
                outcomes = compute(handle.servable, form, [member for _, member in members], self._clock)
                for (position, _), outcome in zip(members, outcomes, strict=True):
                    answers[position] = self._conclude(handle, batch[position], outcome)
        except PenstockError as error:
            for position in itertools.chain(*layouts.values()):
                batch[position].error = error

    def _conclude(self, handle: Handle, pending: Pending, outcome: Outcome) -> Answer | None:
        """Return the answer with the outputs, or None after setting ``pending.error``."""
        if outcome.error is not None:
            pending.error = outcome.error
            return None
        record, request, id_ = pending.record, pending.request, handle.id
        result = PredictResult(
            "" if request is None else request.id,
            id_.name,
            id_.version,
            outcome.outputs,
            None,
            Source(record.topic, record.partition, record.offset),
            handle.digest,
            max(0, outcome.started_ms - record.timestamp_ms) * 1000,
            outcome.compute_us,
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
        """Return the error result of a request, and a dead letter where its bytes are at fault or it is set aside."""
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
            error if isinstance(pending.error, Undecodable | RecordTooLarge | CircuitOpen) else None,
        )


def _without_long(answer: Answer) -> Answer:
    """Return an error result without a key, or the request's headers, that are longer than any should be."""
    size = sum([len(name) + len(value or b"") for name, value in answer.headers])
    return msgspec.structs.replace(
        answer,
        key=answer.key if len(answer.key or b"") <= _LONGEST_ASIDE_BYTES else None,
        headers=answer.headers if size <= _LONGEST_ASIDE_BYTES else answer.headers[-2:],
    )


def _members(
    form: Form, layout: Layout, positions: Sequence[int], batch: Sequence[Pending]
) -> Iterator[tuple[int, Member]]:
    """Yield the requests of one layout that fit, by position; the others get the error that says why not."""
    try:
        fit = batching.match(form, layout)
    except PenstockError as error:
        for position in positions:
            batch[position].error = error
        return
    for position in positions:
        request = batch[position].request
        try:
            if request is not None:
                yield position, batching.member(form, fit, request.inputs, request.deadline_ms)
        except PenstockError as error:
            batch[position].error = error


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
