"""Reading a dead-letter stream of Redis."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from functools import partial
from typing import Final, Self, TypeVar

from pipeline import redis_access
from pipeline.dead_letters.letters import DeadLetter
from pipeline.dead_letters.places import EntryId, Place
from pipeline.dead_letters.redis_entry import letter_of
from pipeline.errors import ConnectorError
from pipeline.redis_node import Node
from pipeline.settings import RedisSettings

_CLIENT: Final = "penstock-dead-letters"
# Letters may be as large as requests, and a reply is in memory as a whole.
_MAX_ENTRIES: Final = 50
_FIRST: Final = EntryId(0, 1)

T = TypeVar("T")


class RedisLetterReader:
    """See LetterReader: the group is one of the stream, which ``commit`` makes where there is none.

    A stream that does not exist has no letters: the first one makes it.
    """

    def __init__(self, redis: RedisSettings, stream: str, *, start: EntryId | None = None, group: str = "") -> None:
        self._redis, self._stream, self._group = redis, stream, group
        self._start = start or _FIRST
        self._bounds: tuple[EntryId, EntryId] | None = None
        self._node: Node | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._node is not None:
            self._node.close()

    def read(self) -> Iterator[DeadLetter]:
        """See LetterReader."""
        if self._bounds is None:
            self._bounds = self._ask(self._found)
        start, last = self._bounds
        before = start.previous
        while before < last:
            entries = self._ask(partial(self._behind, before))
            if not entries:
                return
            for place, fields in entries:
                if place > last:
                    return
                yield letter_of(place, fields)
                before = place

    def commit(self, places: Iterable[Place]) -> None:
        """See LetterReader."""
        for place in places:
            if isinstance(place, EntryId):
                self._ask(partial(self._move, place.previous))

    def _found(self, node: Node) -> tuple[EntryId, EntryId]:
        """Return the first and the last id to be read."""
        kind = node.client.type(self._stream).decode()
        if kind == "none":
            return _FIRST, _FIRST.previous
        if kind != "stream":
            raise ConnectorError(f"topic {self._stream}", f"its key holds a {kind}, not a stream of dead letters")
        start = self._start
        if self._group:
            for group in node.client.xinfo_groups(self._stream):
                if group["name"] == self._group.encode():
                    start = max(start, _id(group["last-delivered-id"]).next)
        return start, _id(node.client.xinfo_stream(self._stream)["last-generated-id"])

    def _behind(self, after: EntryId, node: Node) -> list[tuple[EntryId, list[bytes]]]:
        # XREAD in this form, and not XRANGE: of its reply redis-py makes no dict, which would lose doubled fields.
        reply = node.ask(self._stream, "XREAD COUNT", _MAX_ENTRIES, "STREAMS", self._stream, str(after))
        return [(_id(id_), fields) for id_, fields in reply[0][1]] if reply else []

    def _move(self, last: EntryId, node: Node) -> None:
        try:
            node.client.xgroup_setid(self._stream, self._group, str(last))
        except redis_access.package().ResponseError as error:
            if not redis_access.is_forgotten(error):
                raise
            node.client.xgroup_create(self._stream, self._group, str(last))

    def _ask(self, question: Callable[[Node], T]) -> T:
        try:
            if self._node is None:
                self._node = Node.of(self._redis, _CLIENT, retries=3)
            return question(self._node)
        except redis_access.errors() as error:
            raise redis_access.failure(self._redis, error) from error


def _id(text: bytes) -> EntryId:
    time_ms, _, number = text.partition(b"-")
    return EntryId(int(time_ms), int(number))
