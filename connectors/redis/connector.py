"""RedisConnector: the contract of ``pipeline.connector`` on a stream with a consumer group."""

from __future__ import annotations

import logging
import threading
from collections.abc import Sequence
from concurrent.futures import Future

from connectors.redis.backoff import Backoff
from connectors.redis.delivery import Delivery
from connectors.redis.formats import entries_of
from connectors.redis.held import Held
from connectors.redis.intake import Intake
from connectors.redis.server import Server
from pipeline import redis_access
from pipeline.connector import NO_LIMIT, Answer, Record, Refuse, options_of
from pipeline.errors import ConnectorError, InvalidSettings
from pipeline.settings import RedisSettings, RouteSettings, Section, Settings

log = logging.getLogger(__name__)


class RedisConnector:
    """See Connector. An entry is answered once, whoever computes it: the script that writes an answer asks first."""

    def __init__(self, route: RouteSettings, redis: RedisSettings, client_id: str) -> None:
        """``client_id`` is the consumer's name: a worker that comes back with it has its entries again at once."""
        _check(route, redis)
        self._route = route
        self._server = Server(redis, client_id, route.request_topic)
        self._held = Held()
        entries = entries_of(route)
        self._intake = Intake(self._server, route, client_id, entries, self._held)
        self._delivery = Delivery(self._server, route, client_id, entries, self._held)
        self._backoff = Backoff()
        self._closing = threading.Event()
        self._is_open = False

    @classmethod
    def from_settings(cls, route: RouteSettings, settings: Settings, client_id: str) -> RedisConnector:
        """Return the connector of one route. Raises InvalidSettings for what Redis can not do."""
        options_of(route, Section)
        return cls(route, settings.redis, client_id)

    def open(self) -> None:
        """See Connector: the first poll connects."""
        redis_access.package()
        for topic in (self._route.result_topic, self._route.dead_letter_topic):
            if not self._server.is_beside(topic):
                reason = (
                    f"{topic} is in another slot than {self._route.request_topic}; begin all names with one {{tag}}"
                )
                raise InvalidSettings("redis cluster", reason)
        self._delivery.start()
        self._is_open = True

    def poll(self, max_records: int, timeout_s: float, max_bytes: int = NO_LIMIT) -> Sequence[Record]:
        """See Connector."""
        left_s = self._backoff.left_s()
        if left_s > 0:
            self._closing.wait(min(left_s, timeout_s))
            return []
        records: Sequence[Record] = []
        try:
            if max_records:
                records = self._intake.take(max_records, max_bytes, timeout_s)
            else:
                self._intake.attend()
        except redis_access.errors() as error:
            self._note(error)
            return []
        if self._backoff.is_waiting:
            self._backoff.succeeded()
            log.info("%s is read again", self._route.request_topic)
        if not max_records:
            self._closing.wait(timeout_s)
        return records

    def answer(self, records: Sequence[Record], answers: Sequence[Answer], refuse: Refuse) -> Future[None]:
        """See Connector."""
        return self._delivery.send(records, answers, refuse)

    def close(self, timeout_s: float) -> None:
        """See Connector: what was not answered is others' at once."""
        if not self._is_open:
            return
        self._is_open = False
        self._closing.set()
        self._delivery.stop(timeout_s)
        errors: tuple[type[Exception], ...] = (*redis_access.errors(), ConnectorError)
        try:
            if not self._backoff.is_waiting:
                self._intake.leave()
        except errors as error:
            log.warning("what was not answered comes again after %g s: %s", self._route.redis.claim_after_s, error)
        self._server.close()

    def _note(self, error: Exception) -> None:
        """Wait for what heals; raise the others. Whatever happened, a reply with entries may be lost."""
        self._intake.forget_connection()
        failure = self._server.failure(error)
        is_passing = redis_access.is_away(error) or redis_access.is_full(error) or redis_access.is_forgotten(error)
        if not is_passing:
            raise failure from error
        if not self._backoff.is_waiting:
            log.warning("requests wait: %s", failure)
        self._backoff.failed()


def _check(route: RouteSettings, redis: RedisSettings) -> None:
    """Raise InvalidSettings for what Redis can not do."""
    place = f"route {route.request_topic}"
    if not redis.url:
        raise InvalidSettings("redis.url", f"{place} is read from Redis; set it, such as redis://localhost:6379")
    if route.is_pattern:
        raise InvalidSettings(place, "a stream of Redis has one name; request topics by a pattern are Kafka's")
    if route.guarantee != "at_least_once":
        reason = "is Kafka's; in one Redis each request is answered once anyway, see docs/redis.md"
        raise InvalidSettings(f"{place}: guarantee", f"{route.guarantee} {reason}")
