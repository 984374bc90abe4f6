"""Answers on their way into Redis: one script writes them, acknowledges their entries and deletes those."""

from __future__ import annotations

import logging
import queue
import threading
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future
from typing import Any, Final

from connectors.redis import scripts
from connectors.redis.backoff import Backoff
from connectors.redis.dead_letters import DeadLetters
from connectors.redis.entries import Entries
from connectors.redis.held import Held
from connectors.redis.record import RedisRecord
from connectors.redis.server import Server
from pipeline import redis_access
from pipeline.connector import Answer, Record, Refuse
from pipeline.errors import PenstockError, ReplyRefused
from pipeline.settings import RouteSettings

log = logging.getLogger(__name__)

# A script holds up everybody else, its words lie in memory twice, and it takes 8,000 or so as one list: larger batches
# are written in parts.
_MOST_BYTES: Final = 8 * 1024 * 1024
_MOST_ANSWERS: Final = 512

_Item = tuple[RedisRecord, Answer]


class _Batch:
    def __init__(self, records: Sequence[Record], answers: Sequence[Answer], refuse: Refuse) -> None:
        self.items: list[_Item] = list(zip(records, answers, strict=True))  # type: ignore[arg-type]  # our own records
        self.refuse = refuse
        self.future: Future[None] = Future()


class Delivery:
    """Writes batches in the order in which they were answered, on a thread of its own.

    While the server is away, or too full, it tries again. A script that was sent twice writes once: it asks first
    whether an entry is still pending.
    """

    def __init__(self, server: Server, route: RouteSettings, consumer: str, entries: Entries, held: Held) -> None:
        self._server = server
        self._route = route
        self._consumer = consumer
        self._entries = entries
        self._held = held
        self._dead_letters = DeadLetters(route, consumer)
        self._batches: queue.SimpleQueue[_Batch | None] = queue.SimpleQueue()
        self._giving_up = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Start the thread."""
        self._thread = threading.Thread(target=self._run, name=f"{self._consumer}-delivery", daemon=True)
        self._thread.start()

    def send(self, records: Sequence[Record], answers: Sequence[Answer], refuse: Refuse) -> Future[None]:
        """See Connector.answer. Never blocks."""
        batch = _Batch(records, answers, refuse)
        self._batches.put(batch)
        return batch.future

    def stop(self, timeout_s: float) -> None:
        """Write what was sent, for so long at most; what is left then fails."""
        thread, self._thread = self._thread, None
        if thread is not None:
            self._batches.put(None)
            thread.join(timeout_s)
            self._giving_up.set()
            thread.join()

    def _run(self) -> None:
        while (batch := self._batches.get()) is not None:
            try:
                self._deliver(batch)
            except Exception as error:  # noqa: BLE001  # whatever it is, the worker must hear of it
                batch.future.set_exception(error)
            else:
                batch.future.set_result(None)

    def _deliver(self, batch: _Batch) -> None:
        for items in _parts(batch.items):
            left = self._write(items)
            refused = [(record, batch.refuse(record, self._reason(answer, why))) for record, answer, why in left]
            for _, answer, why in self._write(refused):
                raise self._reason(answer, why)
            self._held.drop([record.entry_id for record, _ in items])

    def _write(self, items: Sequence[_Item]) -> list[tuple[RedisRecord, Answer, str]]:
        """Write answers, and return those that can not be written, with the reason."""
        here: list[_Item] = []
        words: list[bytes | str | int] = []  # as the script wants them
        left: list[tuple[RedisRecord, Answer, str]] = []
        for record, answer in items:
            commands = self._entries.commands(record, answer)
            if answer.dead_letter is not None:
                commands.append(self._dead_letters.command(record, answer.dead_letter))
            if self._server.is_cluster and not all(self._server.is_beside(command[1]) for command in commands):
                left.append((record, answer, "it is in another slot of the cluster than the request topic"))
                continue
            here.append((record, answer))
            words.append(len(commands))
            for command in commands:
                words.append(len(command))
                words += command
        if here:
            reply = self._until_taken([len(here), *[record.entry_id for record, _ in here], *words])
            left += [(*here[position], why.decode(errors="replace")) for position, why in reply]
        return left

    def _reason(self, answer: Answer, why: str) -> PenstockError:
        if answer.topic is not None and answer.topic != self._route.result_topic:
            return ReplyRefused(answer.topic, self._route.reply_topics)
        return self._server.failure(RuntimeError(f"an answer can not be written: {why}"))

    def _until_taken(self, words: Iterable[Any]) -> list[tuple[int, bytes]]:
        backoff = Backoff()
        while True:
            try:
                reply = self._server.run(scripts.ANSWER, self._route.group, self._consumer, *words)
            except redis_access.errors() as error:
                failure = self._server.failure(error)
                if self._giving_up.is_set() or not (redis_access.is_away(error) or redis_access.is_full(error)):
                    raise failure from error
                if not backoff.is_waiting:
                    log.warning("answers wait: %s", failure)
                backoff.failed()
                self._giving_up.wait(max(0.0, backoff.left_s()))
            else:
                if backoff.is_waiting:
                    log.info("answers are taken again")
                return list(reply)


def _parts(items: Sequence[_Item]) -> Iterator[Sequence[_Item]]:
    """Yield the items in order, cut before they are too many or have too many bytes."""
    start = size_bytes = 0
    for position, (_, answer) in enumerate(items):
        is_full = position - start == _MOST_ANSWERS or size_bytes + len(answer.value) > _MOST_BYTES
        if position > start and is_full:
            yield items[start:position]
            start, size_bytes = position, 0
        size_bytes += len(answer.value)
    yield items[start:]
