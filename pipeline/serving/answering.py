"""From outcomes to answers: results and error results, with the bytes and the headers that their requests ask for."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Final

import msgspec

from pipeline.connector import Answer, small_headers, small_key
from pipeline.errors import CircuitOpen, ModelFailed, NotRepresentable, PenstockError, ResultTooLarge
from pipeline.records import Error, PredictResult, Source
from pipeline.registry.handle import Handle
from pipeline.serving import headers
from pipeline.serving.computation import Outcome
from pipeline.serving.formats import Formats
from pipeline.serving.headers import Header
from pipeline.serving.pending import Pending
from pipeline.settings import RouteSettings

log = logging.getLogger(__name__)

# How much of its text an error result carries, and of a name where its first form was refused.
_LONG_TEXT: Final = 4000
_LONG_NAME: Final = 1000


class Answering:
    """Makes the answers of one route. Thread-safe; keeps nothing of a batch."""

    def __init__(self, route: RouteSettings, formats: Formats) -> None:
        self._route, self._formats = route, formats
        self._is_full = route.result_headers == "full"

    def conclude(
        self,
        handle: Handle,
        batch: Sequence[Pending],
        positions: Sequence[int],
        outcomes: Sequence[Outcome],
        answers: list[Answer | None],
    ) -> int:
        """Set the answer with the outputs at each position, or the error instead; return how many have outputs."""
        name, version, digest = handle.id.name, handle.id.version, handle.digest
        most_bytes, encode, answered = self._route.max_result_bytes, self._encode, 0
        for position, outcome in zip(positions, outcomes, strict=True):
            pending = batch[position]
            if outcome.error is not None:
                pending.fail(outcome.error)
                continue
            record, request = pending.record, pending.request
            result = PredictResult(
                "" if request is None else request.id,
                name,
                version,
                outcome.outputs,
                None,
                Source(record.topic, record.partition, record.offset),
                digest,
                max(0, outcome.started_ms - record.timestamp_ms) * 1000 if record.timestamp_ms > 0 else 0,
                outcome.compute_us,
            )
            try:
                value, own = encode(pending, result)
            except PenstockError as error:
                pending.fail(error)
                continue
            except Exception as fault:  # else one result would stop every worker that its record comes to
                log.debug("%s[%d]@%d", record.topic, record.partition, record.offset, exc_info=True)
                pending.fail(NotRepresentable(f"its writer has a fault: {type(fault).__name__}: {fault}"))
                continue
            if len(value) > most_bytes:
                pending.fail(ResultTooLarge(str(handle.id), len(value), most_bytes))
                continue
            if self._is_full:
                own = [*own, *headers.full(result, record)]
            key = record.key if pending.key is None else pending.key
            if record.headers:
                own, envelope = self._echo(pending, own), pending.envelope
                answers[position] = Answer(value, key, own, envelope.reply_topic, envelope.reply_partition)
            else:
                answers[position] = Answer(value, key, own)
            answered += 1
        return answered

    def refusal(self, pending: Pending) -> Answer:
        """Return the error result of a request, and a dead letter where it is to be kept or is set aside."""
        record, request, envelope = pending.record, pending.request, pending.envelope
        error = Error.of(pending.error or ModelFailed(self._route.servable, "no answer was computed"))
        # It names what the record names.
        error = msgspec.structs.replace(error, message=_cut(error.message, _LONG_TEXT))
        result = PredictResult(
            id=request.id if request is not None else envelope.id or headers.id_of_key(record.key),
            servable=(request and request.servable) or envelope.servable or self._route.servable,
            version=request.version if request is not None else None,
            error=error,
            source=Source(record.topic, record.partition, record.offset),
        )
        value, own = self._encode_error(pending, result)
        if len(value) > self._route.max_result_bytes:  # its source still tells whose answer it is
            short = msgspec.structs.replace(result, id="", servable=self._route.servable)
            value, own = self._encode_error(pending, short)
        own = [*own, *(headers.full(result, record) if self._is_full else ()), *headers.failed(error.code)]
        return Answer(
            value,
            record.key if pending.key is None else pending.key,
            self._echo(pending, own),
            envelope.reply_topic,
            envelope.reply_partition,
            error if self._route.dead_letters.takes(error.code) or isinstance(pending.error, CircuitOpen) else None,
        )

    def refusal_in_short(self, pending: Pending, error: PenstockError) -> Answer:
        """Return the error result that takes the place of an answer which its broker has refused for ``error``.

        It goes nowhere but to the route's results, and repeats nothing long of the request, so that this one is taken
        whatever was too large about the first.
        """
        envelope, request = pending.envelope, pending.request
        id_, servable = _cut(envelope.id, _LONG_NAME), _cut(envelope.servable, _LONG_NAME)
        pending.envelope = msgspec.structs.replace(
            envelope, id=id_, servable=servable, reply_topic=None, reply_partition=None
        )
        if request is not None:
            id_, servable = _cut(request.id, _LONG_NAME), _cut(request.servable, _LONG_NAME)
            pending.request = msgspec.structs.replace(request, id=id_, servable=servable, inputs=())
        if pending.error is None:  # what was wrong with the record before is the better reason
            pending.fail(error)
        answer = self.refusal(pending)
        if isinstance(error, ResultTooLarge):  # perhaps for what it repeats
            answer = msgspec.structs.replace(answer, headers=small_headers(answer.headers), key=small_key(answer.key))
        return answer

    def _encode(self, pending: Pending, result: PredictResult) -> tuple[bytes, Sequence[Header]]:
        """Return the bytes of a result and the headers that readers need for them."""
        if pending.framing is not None:
            return pending.framing.encode(result)
        return self._formats.encode(pending.codec, result, pending.envelope.content_type)

    def _encode_error(self, pending: Pending, result: PredictResult) -> tuple[bytes, Sequence[Header]]:
        """Return the same of an error result; in the route's first format where the codec of the request fails."""
        try:
            return self._encode(pending, result)
        except Exception:  # whatever it is: an error has a form in each format of ours
            log.debug("an error result", exc_info=True)
            return self._formats.encode_named(self._formats.default, result)

    def _echo(self, pending: Pending, own: Sequence[Header]) -> Sequence[Header]:
        echoed, framing = pending.envelope.echoed, pending.framing
        if framing is not None:
            echoed = [header for header in echoed if framing.is_repeated(header[0])]
        return headers.merged(echoed, own) if own else echoed


def _cut(text: str, most: int) -> str:
    return text if len(text) <= most else f"{text[:most]} ..."
