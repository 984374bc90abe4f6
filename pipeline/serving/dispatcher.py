"""The whole data path of a route: decode, group, take a handle, compute, encode.

Two steps, so that the next batch can be decoded while this one is computed: ``decode`` on the feeder's thread,
``answer``, and before it ``decode_late``, on the thread that computes. None raises for what a record says: a record's
problem is its answer.
"""

from __future__ import annotations

import fnmatch
import itertools
import logging
from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

import msgspec

from pipeline.clock import Clock
from pipeline.codecs.codec import Codec, Limits
from pipeline.connector import Answer, Record
from pipeline.errors import (
    DeadlineExceeded,
    NoInputs,
    PenstockError,
    PoisonRecord,
    ReplyRefused,
    SchemaUnavailable,
    Undecodable,
)
from pipeline.records import PredictRequest
from pipeline.registry.handle import Handle
from pipeline.registry.servable import ServableId
from pipeline.serving import batching
from pipeline.serving.answering import Answering
from pipeline.serving.batching import Layout, Target, Targets
from pipeline.serving.cluster_serving.frame import Frame, Job, fitted
from pipeline.serving.computation import compute
from pipeline.serving.form import form_in_use
from pipeline.serving.formats import Formats
from pipeline.serving.framing import NO_VALUE, framing_of
from pipeline.serving.headers import SILENT, Envelope, Header, HeaderTable, is_event_type
from pipeline.serving.members import members_of
from pipeline.serving.pending import Pending, codes_of
from pipeline.settings import BatchingSettings, RouteSettings
from pipeline.settings.cluster_serving import FORMAT as CLUSTER_SERVING

log = logging.getLogger(__name__)


class Servables(Protocol):
    """Where handles come from; the manager is one."""

    def acquire(self, name: str, version: int | None = None, label: str | None = None) -> Handle:
        """Return a handle without waiting; raises UnknownServable, UnknownVersion, UnknownLabel or NotReady."""
        ...


# What the settings of a stream say of its batches; asked once a batch, so they may change at run time.
BatchingOf = Callable[[str], BatchingSettings]
# Asks a schema registry for the schemas of these names; blocks for a limited time, never raises.
Fetch = Callable[[set[bytes]], None]
# Hears what a version made of all requests of a batch that named it: how many it answered, the codes of the errors that
# the others got, and the seconds that it took. Called on the threads that compute.
Predicted = Callable[[ServableId, int, Sequence[str], float], None]
# What the headers of a batch say, by request topic and headers: those of one client's requests say the same.
Said = dict[tuple[str, tuple[Header, ...]], Envelope]


def _as_declared(_stream: str) -> BatchingSettings:
    return BatchingSettings()


def _unheard(_version: ServableId, _answered: int, _codes: Sequence[str], _seconds: float) -> None:
    pass


class Dispatcher:
    """Turns the records of one route into answers, one for each, in order. Thread-safe; keeps nothing of a batch."""

    def __init__(
        self,
        route: RouteSettings,
        servables: Servables,
        codecs: Sequence[Codec],
        clock: Clock,
        batching_of: BatchingOf = _as_declared,
        fetch: Fetch | None = None,
        predicted: Predicted = _unheard,
    ) -> None:
        """``fetch`` asks for the schemas that records name; ``predicted`` hears what came of it."""
        self._route = route
        self._servables = servables
        self._formats = Formats(codecs, route.format)
        self._clock = clock
        self._batching_of = batching_of
        self._fetch = fetch
        self._predicted = predicted
        self._limits = Limits(route.max_record_bytes, route.max_tensors)
        self._job = Job(route) if route.format == CLUSTER_SERVING else None
        self._is_framed_route = self._job is not None or is_event_type(route.format)
        self._headers = HeaderTable(route.headers, clock, route.format if self._is_framed_route else "")
        self._answering = Answering(route, self._formats)

    def decode(self, records: Sequence[Record]) -> list[Pending]:
        """Return one Pending for each record, in order."""
        said: Said = {}
        return [self._decode(record, said) for record in records]

    def decode_late(self, batch: Sequence[Pending]) -> None:
        """Decode what waits for its schema, in place. Blocks while the schema registry is asked, for a limited time.

        Not while others wait for the thread to poll. What still can not be decoded keeps the error that says why.
        """
        waiting = [pending for pending in batch if isinstance(pending.error, SchemaUnavailable)]
        if not waiting or self._fetch is None:
            return
        self._fetch({pending.error.name for pending in waiting if isinstance(pending.error, SchemaUnavailable)})
        for pending in waiting:
            pending.error = None
            self._read(pending, {})

    def answer(self, batch: Sequence[Pending]) -> list[Answer]:
        """Compute a batch and return its answers, in order. Blocks for as long as the models take."""
        return self.compute(batch, self.targets_of(batch))

    def targets_of(self, batch: Sequence[Pending]) -> Targets:
        """Return what the requests of a batch ask, by position; what has expired gets its error."""
        now_ms = self._clock.unix_ms()
        todo: list[tuple[int, PredictRequest]] = []
        for position, pending in enumerate(batch):
            request = pending.request
            if request is None or pending.error is not None:
                continue
            if request.deadline_ms is not None and request.deadline_ms < now_ms:
                pending.fail(DeadlineExceeded(request.deadline_ms, now_ms))
            else:
                todo.append((position, request))
        return batching.by_target(todo, self._route.servable)

    def compute(self, batch: Sequence[Pending], targets: Targets) -> list[Answer]:
        """Return the answers of a batch, in order, computed target by target. Blocks for as long as the models take.

        At most ``max_batch_size`` requests of a target are computed together, however large the batch is.
        """
        answers: list[Answer | None] = [None] * len(batch)
        for target, layouts in targets.items():
            for portion in batching.portions(layouts, self._route.max_batch_size):
                self._answer_target(target, portion, batch, answers)
        return [answer or self._answering.refusal(pending) for answer, pending in zip(answers, batch, strict=True)]

    def refuse(self, record: Record, error: PenstockError) -> Answer:
        """Return the answer to a record whose first answer its broker will not take; see Connector.answer."""
        return self._answering.refusal_in_short(self._decode(record, {}), error)

    # From a record to a request.

    def _decode(self, record: Record, said: Said) -> Pending:
        return self._read(Pending(record, self._formats.default, SILENT), said)

    def _read(self, pending: Pending, said: Said) -> Pending:
        try:
            self._read_request(pending, said)
        except PenstockError as error:
            pending.fail(error)
        except Exception as fault:  # else one record would stop every worker that it comes to
            record = pending.record
            log.debug("%s[%d]@%d", record.topic, record.partition, record.offset, exc_info=True)
            pending.fail(Undecodable(f"its reader has a fault: {type(fault).__name__}: {fault}"))
        return pending

    def _read_request(self, pending: Pending, said: Said) -> None:
        # The headers and the framing come first, so that even an error goes where, and has the form that, they ask.
        record, envelope = pending.record, SILENT
        if record.headers or self._is_framed_route:
            key = record.topic, tuple(record.headers)
            envelope = pending.envelope = said.get(key) or said.setdefault(key, self._open(record))
            if envelope.is_framed or self._job is not None:
                envelope = self._frame(pending, envelope)
        if record.fault:
            raise Undecodable(record.fault)
        if record.kills:
            self._check_kills(record, 1)  # then even reading its id has killed a worker
        request = self._request(pending)
        if record.headers or not request.id:
            request = self._headers.completed(request, envelope, record)
        pending.request = request
        if record.kills:
            self._check_kills(record, 0)
        if not request.inputs:
            raise NoInputs
        if envelope.problem is not None:
            raise envelope.problem

    def _open(self, record: Record) -> Envelope:
        """Read the headers. A reply address that the allow-list or a loop forbids gets no result, and no error."""
        envelope = self._headers.read(record.headers)
        topic = envelope.reply_topic
        if topic is None or self._may_reply(topic, record.topic):
            return envelope
        problem = envelope.problem or ReplyRefused(topic, self._route.reply_topics)
        return msgspec.structs.replace(envelope, reply_topic=None, reply_partition=None, problem=problem)

    def _frame(self, pending: Pending, envelope: Envelope) -> Envelope:
        """Find the framing; return the envelope of this request alone."""
        if self._job is not None and envelope.content_type == CLUSTER_SERVING:
            pending.framing = frame = Frame(self._job, pending.record)
            pending.key = frame.key
        else:
            pending.framing = framing_of(pending.record, envelope, self._formats, self._limits, self._clock)
        if pending.framing is not None and pending.framing.id:
            pending.envelope = envelope = msgspec.structs.replace(envelope, id=pending.framing.id)
        return envelope

    def _check_kills(self, record: Record, beyond: int) -> None:
        allowed = self._route.poison_after_kills or 0
        if 0 < allowed <= record.kills - beyond:
            raise PoisonRecord(record.kills)

    def _request(self, pending: Pending) -> PredictRequest:
        value = pending.record.value
        if pending.framing is not None:
            return pending.framing.decode_request(value, self._limits)
        pending.codec = self._formats.pick(value, pending.envelope.content_type)
        if not value:
            raise NoInputs(NO_VALUE)
        return pending.codec.decode_request(value, self._limits)

    def _may_reply(self, topic: str, request_topic: str) -> bool:
        if topic == self._route.results_of(request_topic):
            return True
        allowed = any(fnmatch.fnmatchcase(topic, pattern) for pattern in self._route.reply_topics)
        return allowed and not self._route.reads(topic)

    # From requests to answers.

    def _answer_target(
        self,
        target: Target,
        layouts: Mapping[Layout, list[int]],
        batch: Sequence[Pending],
        answers: list[Answer | None],
    ) -> None:
        servable, version, label, signature = target
        try:
            handle = self._servables.acquire(servable, version, label)
        except PenstockError as error:
            _fail(layouts, batch, error)
            return
        with handle:
            answered, started_s = 0, self._clock.monotonic_s()
            try:
                form = form_in_use(handle, signature, self._batching_of(servable))
                fitting = layouts if self._job is None else fitted(form, layouts, batch)
                members = members_of(form, fitting, batch)
                outcomes = compute(handle.servable, form, [member for _, member in members], self._clock)
                positions = [position for position, _ in members]
                answered = self._answering.conclude(handle, batch, positions, outcomes, answers)
            except PenstockError as error:
                _fail(layouts, batch, error)
            is_complete = answered == sum(map(len, layouts.values()))
            codes = () if is_complete else codes_of(batch[at] for at in itertools.chain(*layouts.values()))
            self._predicted(handle.id, answered, codes, self._clock.monotonic_s() - started_s)


def _fail(layouts: Mapping[Layout, Sequence[int]], batch: Sequence[Pending], error: PenstockError) -> None:
    for position in itertools.chain(*layouts.values()):
        batch[position].fail(error)
