"""OutputQueue: results come out, by id or whatever has come."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from types import TracebackType
from typing import Final, Self, Unpack

from pipeline.client.hand_out import HandOut
from pipeline.client.input_queue import FLUSH_TIMEOUT_S, timed_out, value_or_raise
from pipeline.client.link import GroupReader, group_reader_of
from pipeline.client.queue import Queue, QueueOptions
from pipeline.client.reply_table import Outcome
from pipeline.client.values import Value, error_of, value_of
from pipeline.errors import InvalidSettings, PenstockError
from pipeline.records import PredictResult

# What ``dequeue`` holds for one id: the outputs, or the error (RemoteError for an error result).
ValueOrError = Value | PenstockError


# How often a result that may lie in a store is looked for there; one that comes here wakes whoever waits for it.
LOOK_S: Final = 0.05


class OutputQueue(Queue):
    """The results of the requests that this process has sent; with ``group``, those of anybody.

    Without a group it shares the connection of the InputQueue with the same route and options: results are kept, up to
    ``max_results``, from the moment a request can be sent until they are taken, or the last queue is closed. Any thread
    may call any method. Connects on first use, or by ``open``, or ``with``.

    With ``group`` it reads the whole result topic as a member of that consumer group, from the start of the topic where
    the group is new. What one ``dequeue`` (or one step of ``results``) handed out is done when the next one begins, or
    by ``close``; what is done is committed when more is read, or by ``close``. What was not done is read again: the
    last hand-out where a ``with`` block is left by an exception, and whatever was never handed out. A request without
    an id and a key has the id "". ``query`` and ``result`` are not for groups.
    """

    def __init__(self, route: str = "serving", *, group: str | None = None, **options: Unpack[QueueOptions]) -> None:
        """See QueueOptions."""
        super().__init__(route, **options)
        self._group = group
        self._reader: GroupReader | None = None
        self._hand_out = HandOut()
        self._turn = threading.Lock()  # one reading of a group at a time

    def open(self) -> Self:
        """Connect now; ConnectorError after the connect timeout, or where the result topic does not exist."""
        if self._group is None:
            self._opened()
        else:
            self._group_reader(self._group)
        return self

    def query(self, uri: str, delete: bool = False, timeout: float = 0.0) -> Value | None:  # noqa: FBT001, FBT002  # the ancestor's verb
        """Return the outputs for one request, None where they have not come after ``timeout`` seconds.

        The result stays for further queries unless ``delete``. Raises RemoteError for an error result, which stays or
        goes in the same way. Over Redis, a result that the route has stored as a hash is found too, whoever asked.
        """
        outcome = self._find(uri, timeout, is_kept=not delete)
        return None if outcome is None else value_or_raise(outcome)

    def query_and_delete(self, uri: str, timeout: float = 0.0) -> Value | None:
        """``query`` with ``delete``."""
        return self.query(uri, delete=True, timeout=timeout)

    def result(self, uri: str, timeout: float = 5.0) -> PredictResult:
        """Return the whole record for one request, its version and times included, and keep it no longer.

        An error result is returned, not raised. Raises TimedOut after ``timeout`` seconds.
        """
        outcome = self._find(uri, timeout, is_kept=False)
        if outcome is None:
            raise timed_out(self._own(), uri, timeout)
        if isinstance(outcome, PenstockError):
            raise outcome
        return outcome

    def dequeue(self, timeout: float = 0.0) -> dict[str, ValueOrError]:
        """Return all results that are there, by id, oldest first, and keep them no longer.

        Waits for the first one, ``timeout`` seconds at most. An error result is in the dict as its RemoteError, so
        that no other result is lost with it. A group returns 500 at most in one call, and of several results of one id
        the first; the next call has the next.
        """
        return {id_: value_or_error(outcome) for id_, outcome in self._take(timeout).items()}

    def results(self, timeout: float = 5.0) -> Iterator[tuple[str, ValueOrError]]:
        """Yield (id, value or error) as results come, one by one; ends when none has come for ``timeout`` seconds."""
        while outcomes := self._take(timeout, 1):
            for id_, outcome in outcomes.items():
                yield id_, value_or_error(outcome)

    def close(self, timeout: float = FLUSH_TIMEOUT_S) -> None:
        """Let go of the connection; a group's last hand-out is done, and committed. Idempotent.

        Takes ``timeout`` seconds and a half at most; what could not be committed by then is read again.
        """
        self._close(timeout, is_handled=True)

    def __enter__(self) -> Self:
        return self.open()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._close(FLUSH_TIMEOUT_S, is_handled=error is None)

    def _close(self, timeout_s: float, *, is_handled: bool) -> None:
        deadline_s = time.monotonic() + timeout_s
        with self._turn:
            reader, self._reader = self._reader, None
            if reader is not None:
                if is_handled:
                    self._hand_out.settle()
                reader.close(timeout_s, self._hand_out.done())
        self._release(max(0.0, deadline_s - time.monotonic()))

    def _group_reader(self, group: str) -> GroupReader:
        client_id = self.client_id  # raises where this is closed
        if self._reader is None:
            self._reader = group_reader_of(self._address, group, client_id, self._connect_timeout_s)
        return self._reader

    def _take(self, timeout_s: float, limit: int | None = None) -> dict[str, Outcome]:
        if self._group is not None:
            with self._turn:
                reader, hand_out = self._group_reader(self._group), self._hand_out
                hand_out.settle()
                if hand_out.is_empty:
                    hand_out.add(reader.read(timeout_s, hand_out.done()))
                return hand_out.take(limit)
        deadline_s = time.monotonic() + timeout_s
        table = self._opened().table
        while True:
            outcomes = table.drain(limit)
            left_s = deadline_s - time.monotonic()
            if outcomes or left_s <= 0:
                return outcomes
            table.wait(None, left_s)
            self._own()  # raises where it was closed meanwhile

    def _find(self, uri: str, timeout_s: float, *, is_kept: bool) -> Outcome | None:
        refuse_group(self._group)
        deadline_s = time.monotonic() + timeout_s
        connection = self._opened()
        table, look_s = connection.table, LOOK_S if connection.has_store else timeout_s
        while True:
            outcome = table.get(uri) if is_kept else table.pop(uri)
            outcome = outcome or connection.stored(uri, is_kept=is_kept)
            left_s = deadline_s - time.monotonic()
            if outcome is not None or left_s <= 0:
                return outcome
            table.wait(uri, min(left_s, look_s))
            self._own()


def refuse_group(group: str | None) -> None:
    """Raise InvalidSettings for a look-up by id in a group."""
    if group is not None:
        reason = "a group hands its results out by dequeue and results, not by id"
        raise InvalidSettings(f"OutputQueue(group={group!r})", reason)


def value_or_error(outcome: Outcome) -> ValueOrError:
    """Return the outputs of an outcome, or its error as an object."""
    if isinstance(outcome, PenstockError):
        return outcome
    return error_of(outcome) or value_of(outcome)
