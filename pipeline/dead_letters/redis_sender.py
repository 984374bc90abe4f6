"""Sending requests back to streams of Redis."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, Self

from pipeline import redis_access, redis_wire
from pipeline.dead_letters.letters import DeadLetter
from pipeline.dead_letters.redis_entry import request_fields
from pipeline.errors import ConnectorError
from pipeline.redis_node import Node
from pipeline.settings import RedisSettings

_CLIENT: Final = "penstock-replay"


class RedisLetterSender:
    """See LetterSender: appends the fields as they came, one request after the other, so that each is known.

    ``max_lengths`` are the request streams of the settings with how many requests may wait in them, 0 any number; one
    that is full is left as it is. Another stream must be there already. Nothing is sent a second time by itself: a
    request whose reply was lost with the connection may have been appended.
    """

    def __init__(self, redis: RedisSettings, max_lengths: Mapping[str, int]) -> None:
        self._redis, self._max_lengths = redis, max_lengths
        self._node: Node | None = None
        self._known = set(max_lengths)
        self.sent = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._node is not None:
            self._node.close()

    def send(self, letter: DeadLetter, topic: str) -> None:
        """See LetterSender: it is accepted when this returns."""
        try:
            if self._node is None:
                self._node = Node.of(self._redis, _CLIENT, retries=0)
            self._look_at(self._node, topic)
            command = redis_wire.append(topic, request_fields(letter), self._max_lengths.get(topic, 0))
            self._node.ask(topic, *command)
        except redis_access.errors() as error:
            reason = redis_wire.why_full(str(error))
            if reason:
                raise ConnectorError(f"topic {topic}", f"does not take the letter {letter.place}: {reason}") from error
            raise redis_access.failure(self._redis, error) from error
        self.sent += 1

    def accept(self) -> None:
        """See LetterSender: all of it is."""

    def _look_at(self, node: Node, topic: str) -> None:
        if topic in self._known:
            return
        kind = node.client.type(topic).decode()
        if kind != "stream":
            is_there = "does not exist" if kind == "none" else f"holds a {kind}, not a stream"
            raise ConnectorError(f"topic {topic}", f"{is_there}; name another with --to, or create it")
        self._known.add(topic)
