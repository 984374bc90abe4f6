"""From a refused request to its dead letter that the broker has accepted."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Final

import msgspec
from confluent_kafka import KafkaError, KafkaException, Message

from connectors.kafka.record import KafkaRecord
from pipeline.clock import Clock, SystemClock
from pipeline.connector import Headers, Record
from pipeline.dead_letters import headers
from pipeline.dead_letters.headers import Reason
from pipeline.errors import ConnectorError, PenstockError
from pipeline.records import Error
from pipeline.settings import RouteSettings

log = logging.getLogger(__name__)

TOO_LARGE: Final = (KafkaError.MSG_SIZE_TOO_LARGE, KafkaError.INVALID_MSG_SIZE)

Report = Callable[[KafkaError | None, Message], None]
# Produces topic, value, key, the record whose partition number is kept, headers; raises KafkaException.
Produce = Callable[[str, bytes | None, bytes | None, Record, Headers, Report], None]


class DeadLetters:
    """Writes the dead letters of one route. ``send`` and the reports may come on two threads."""

    def __init__(self, produce: Produce, route: RouteSettings, worker: str, clock: Clock | None = None) -> None:
        self._produce = produce
        self._route = route
        self._worker = worker
        self._clock = clock or SystemClock()

    def send(
        self, record: Record, error: Error, on_accepted: Callable[[], None], on_failed: Callable[[PenstockError], None]
    ) -> None:
        """Produce the dead letter of a request; one of the two is called once, here or with the delivery report.

        A letter that is larger than the topic takes is sent again without the value, which its headers say: the
        request itself still lies where they say that it came from.
        """
        timestamp_type = record.timestamp_type if isinstance(record, KafkaRecord) else 1
        reason = Reason(error, self._worker, self._route.group, self._clock.unix_ms(), timestamp_type)

        def attempt(reason: Reason) -> None:
            value = record.value if reason.omitted_bytes is None else None

            def report(error: KafkaError | None, _message: Message) -> None:
                if error is None:
                    on_accepted()
                else:
                    refused(reason, error)

            letter = headers.write(record, reason, self._route.dead_letters.headers)
            try:
                self._produce(self._route.dead_letter_topic, value, record.key, record, letter, report)
            except KafkaException as raised:
                refused(reason, raised.args[0])

        def refused(reason: Reason, error: KafkaError) -> None:
            if error.code() in TOO_LARGE and reason.omitted_bytes is None:
                place = f"{record.topic}[{record.partition}]@{record.offset}"
                log.warning(
                    "%s is too large for %s; its dead letter has no value", place, self._route.dead_letter_topic
                )
                attempt(msgspec.structs.replace(reason, omitted_bytes=len(record.value)))
            else:
                on_failed(self._failure(error))

        attempt(reason)

    def _failure(self, error: KafkaError) -> ConnectorError:
        topic = self._route.dead_letter_topic
        step = "`penstock topics` says what is wrong with it; until then the requests stay where they are"
        return ConnectorError(f"dead-letter topic {topic}", f"{error.str()} ({error.name()}); {step}")
