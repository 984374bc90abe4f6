"""RedisSender: requests on their way into a stream, many in one round trip."""

from __future__ import annotations

import atexit
import contextlib
import os
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any, Final, NoReturn

from pipeline import redis_access, redis_wire
from pipeline.client.outgoing import Outgoing
from pipeline.client.redis.place import RedisPlace
from pipeline.client.redis.trouble import RedisTrouble
from pipeline.errors import ConnectorError
from pipeline.redis_node import Node

# How much may wait in this process.
_MOST_WAITING: Final = 100_000
_MOST_WAITING_BYTES: Final = 64 * 1024 * 1024
# How much is sent in one round trip.
_MOST_SENT: Final = 500
_MOST_SENT_BYTES: Final = 1024 * 1024
# A server's own limit, unless it is told otherwise (proto-max-bulk-len).
_MOST_BYTES: Final = 512 * 1024 * 1024
# How long a request is tried to be sent before it counts as failed; librdkafka's own message.timeout.ms.
_GIVE_UP_S: Final = 300.0
_RETRY_S: Final = 0.1
_EXIT_FLUSH_S: Final = 10.0


class RedisSender:
    """See Sender. A thread of its own writes what waits, in order; ``start`` starts it.

    A request whose reply was lost with the connection is written again, and may then be there twice: both are computed
    and answered, and the second answer is dropped. ``on_failed(id, error)`` is told of a request that was not taken and
    returns whether somebody was waiting for it.
    """

    def __init__(
        self,
        place: RedisPlace,
        topic: str,
        client_id: str,
        trouble: RedisTrouble,
        on_failed: Callable[[str, ConnectorError], bool],
    ) -> None:
        self._place, self._topic, self._client_id = place, topic, client_id
        self._trouble, self._on_failed = trouble, on_failed
        self._changed = threading.Condition()  # guards all below
        self._waiting: deque[Outgoing] = deque()
        self._waiting_bytes = 0
        self._sending = 0
        self._failed = 0
        self._first: ConnectorError | None = None
        self._is_stopping = False
        self._pid = os.getpid()
        self._node: Node | None = None
        self._thread = threading.Thread(target=self._run, name=f"penstock-{topic}-sender", daemon=True)

    def start(self) -> None:
        """Start the thread; called once. A process that just ends waits until what it sent is delivered."""
        self._thread.start()
        atexit.register(self._at_exit)

    def offer(self, request: Outgoing) -> bool:
        """See Sender."""
        if self._first is not None:
            self.check()
        size = len(request.value)
        if size > _MOST_BYTES:
            raise ConnectorError(
                f"request {request.id}", f"its {size} bytes are more than Redis takes; send fewer rows"
            )
        _check_headers(request)
        with self._changed:
            if not self._has_room(size):
                return False
            self._put(request)
        return True

    def send(self, request: Outgoing, timeout_s: float) -> None:
        """See Sender."""
        if self.offer(request):
            return
        with self._changed:
            if not self._changed.wait_for(lambda: self._has_room(len(request.value)), timeout_s):
                self.raise_full(timeout_s)
            self._put(request)

    def raise_full(self, timeout_s: float) -> NoReturn:
        """See Sender."""
        reason = f"{len(self._waiting)} requests wait, and Redis took none for {timeout_s:g} s{self._trouble}"
        raise ConnectorError(f"topic {self._topic}", reason)

    def poll(self) -> None:
        """See Sender: its thread does all there is to do."""

    def flush(self, timeout_s: float) -> None:
        """See Sender."""
        with self._changed:
            is_empty = self._changed.wait_for(lambda: not (self._waiting or self._sending), timeout_s)
            waiting = len(self._waiting) + self._sending
        self.check()
        if not is_empty:
            reason = f"{waiting} requests are still not taken after {timeout_s:g} s{self._trouble}"
            raise ConnectorError(f"topic {self._topic}", reason)

    def check(self) -> None:
        """Raise the ConnectorError of the requests that failed since the last call, if any."""
        with self._changed:
            failed, first, self._failed, self._first = self._failed, self._first, 0, None
        if first is not None:
            if not first.retriable:  # what is refused to one is refused to all
                raise first
            raise ConnectorError(first.what, f"{first.reason} ({failed} earlier requests were not delivered)")

    def stop(self) -> None:
        """Have the thread end after what it is sending; takes no lock, may be called from anywhere."""
        self._is_stopping = True

    def join(self, timeout_s: float) -> None:
        """Wait until the thread has ended."""
        with self._changed:
            self._changed.notify_all()
        if self._thread is not threading.current_thread():
            self._thread.join(timeout_s)

    def _has_room(self, size: int) -> bool:
        if not self._waiting:
            return True
        return len(self._waiting) < _MOST_WAITING and self._waiting_bytes + size <= _MOST_WAITING_BYTES

    def _put(self, request: Outgoing) -> None:
        self._waiting.append(request)
        self._waiting_bytes += len(request.value)
        if len(self._waiting) == 1:
            self._changed.notify_all()

    def _at_exit(self) -> None:
        if os.getpid() == self._pid:  # a forked child has not inherited the thread
            with contextlib.suppress(ConnectorError):  # nobody is left to hear it
                self.flush(_EXIT_FLUSH_S)

    # The sender's thread.

    def _run(self) -> None:
        while requests := self._take():
            self._deliver(requests)
            with self._changed:
                self._sending = 0
                self._changed.notify_all()
        self._let_go()
        atexit.unregister(self._at_exit)

    def _take(self) -> list[Outgoing]:
        """Wait for requests, and return those that are to be sent now; none where it shall stop."""
        with self._changed:
            while not self._waiting and not self._is_stopping:
                self._changed.wait(_RETRY_S)  # ``stop`` takes no lock, and so wakes nobody
            requests: list[Outgoing] = []
            size = 0
            while self._waiting and len(requests) < _MOST_SENT and size < _MOST_SENT_BYTES and not self._is_stopping:
                requests.append(self._waiting.popleft())
                size += len(requests[-1].value)
            self._sending = len(requests)
            self._waiting_bytes -= size
            return requests

    def _deliver(self, requests: Sequence[Outgoing]) -> None:
        """Send until each is taken, or refused for good."""
        give_up_s = time.monotonic() + _GIVE_UP_S
        while True:
            away: Exception | None = None
            left = []
            for request, reply in zip(requests, self._attempt(requests), strict=True):
                if not isinstance(reply, Exception):
                    continue
                if redis_access.is_away(reply):
                    left.append(request)
                    away = reply
                else:
                    self._fail(request, self._refusal(reply))
            if away is None:
                self._trouble.clear()
                return
            requests, failure = left, self._trouble.note(away)
            self._let_go()
            if self._is_stopping or time.monotonic() > give_up_s:
                for request in requests:
                    self._fail(request, failure)
                return
            time.sleep(_RETRY_S)

    def _attempt(self, requests: Sequence[Outgoing]) -> list[Any]:
        """Return the reply to each request, or the exception in its place."""
        try:
            if self._node is None:
                self._node = self._place.connect(self._client_id)
            pipeline = self._node.client.pipeline(transaction=False)
            for request in requests:
                pipeline.execute_command(*self._command(request))
            return list(pipeline.execute(raise_on_error=False))
        except redis_access.errors() as error:
            return [error] * len(requests)
        except ConnectorError as error:  # a cluster that is away
            return [ConnectionError(str(error))] * len(requests)

    def _command(self, request: Outgoing) -> Sequence[Any]:
        fields: list[Any] = [redis_wire.VALUE, request.value, redis_wire.KEY, request.key]
        for header in request.headers:
            fields += header
        return redis_wire.append(self._topic, fields, self._place.max_length)

    def _refusal(self, error: Exception) -> ConnectorError:
        reason = redis_wire.why_full(str(error))
        return ConnectorError(f"topic {self._topic}", reason) if reason else self._place.failure(error)

    def _fail(self, request: Outgoing, failure: ConnectorError) -> None:
        if failure.retriable:
            failure = ConnectorError(f"request {request.id} to {self._topic}", failure.reason)
        if self._on_failed(request.id, failure):
            return
        with self._changed:
            self._failed += 1
            self._first = self._first or failure

    def _let_go(self) -> None:
        if self._node is not None:
            self._node.close()
            self._node = None


def _check_headers(request: Outgoing) -> None:
    """Raise ConnectorError for a header that can not be sent: on the sender's thread it would hurt its neighbours."""
    try:
        for name, text in request.headers:
            name.encode()
            if not isinstance(text, bytes):
                text.encode()
    except (AttributeError, TypeError, ValueError) as error:
        reason = f"its headers must be pairs of a name and a value, text or bytes: {error}"
        raise ConnectorError(f"request {request.id}", reason) from error
