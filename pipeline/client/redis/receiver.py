"""Receiver: hears the stream on which the answers to one client come."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any, Final

from pipeline import redis_access
from pipeline.client.redis.place import RedisPlace
from pipeline.client.redis.trouble import RedisTrouble
from pipeline.errors import ConnectorError, TlsFailed
from pipeline.redis_node import Node

log = logging.getLogger(__name__)

# How long the thread waits for an answer before it looks whether it shall stop.
_BLOCK_S: Final = 0.1
_MOST_READ: Final = 500
_RETRY_S: Final = 0.1
# Without this client's sign of life its stream goes, and answers to it with it: nobody hears them any more.
_LASTS_S: Final = 3600
_RENEW_S: Final = 60.0
# The same fault again is news after so long.
_TELL_S: Final = 60.0
# Where it ends in good order. Not at once: another process may have the same client id.
_LEFT_S: Final = 300


class Receiver:
    """Reads a stream from where it ends when ``open`` returns, on a thread of its own, and trims it behind itself.

    The stream is made by ``open``: workers append to one that is there, and to no other. Where Redis has lost it (by a
    FLUSHALL, say) that is noticed within a fraction of a second: it is made anew, and ``trouble`` remembers it.
    ``on_entry`` gets each entry that has come, on the thread, and ``on_stop`` is called when ``stop`` was. Neither may
    raise; an entry where ``on_entry`` does all the same is logged and left out. What comes while Redis can not be
    reached is read afterwards, where Redis has kept it.
    """

    def __init__(
        self,
        place: RedisPlace,
        stream: str,
        client_id: str,
        trouble: RedisTrouble,
        on_entry: Callable[[bytes, Sequence[bytes]], None],
        on_stop: Callable[[], None],
    ) -> None:
        self._place, self._stream, self._client_id, self._trouble = place, stream, client_id, trouble
        self._on_entry, self._on_stop = on_entry, on_stop
        self._node: Node | None = None
        self._position = b"0-0"
        self._untrimmed = 0
        self._renew_at_s = 0.0
        self._fault: type[Exception] | None = None  # what was logged last, and until when it is no news
        self._tell_at_s = 0.0
        self._is_stopping = False
        self._thread = threading.Thread(target=self._run, name=f"penstock-{stream}", daemon=True)

    def open(self, timeout_s: float) -> None:
        """Make the stream and start the thread. Raises ConnectorError where Redis does not let us in time."""
        deadline_s = time.monotonic() + timeout_s
        while True:
            left_s = max(0.05, deadline_s - time.monotonic())
            try:
                self._node = self._place.connect(self._client_id, _BLOCK_S, left_s)
                self._position = self._register(self._node)
                break
            except redis_access.errors() as error:
                self._let_go()
                failure, is_away = self._place.failure(error), redis_access.is_away(error)
            except ConnectorError as error:  # a cluster that is away, or a file for TLS that can not be read
                failure, is_away = error, not isinstance(error, TlsFailed)
            if not is_away or time.monotonic() + _RETRY_S > deadline_s:
                raise failure
            time.sleep(_RETRY_S)
        self._thread.start()

    def stop(self) -> None:
        """Have the thread end, soon; does not wait, takes no lock, may be called from anywhere."""
        self._is_stopping = True

    def join(self, timeout_s: float) -> None:
        """Wait until the thread has ended."""
        if self._thread is not threading.current_thread():
            self._thread.join(timeout_s)

    def _run(self) -> None:
        while not self._is_stopping:
            try:
                self._step()
            except redis_access.errors() as error:
                self._miss(error)
            except ConnectorError as error:  # a cluster that is away
                self._miss(ConnectionError(str(error)))
            except Exception as error:  # noqa: BLE001  # a thread that dies would leave every caller waiting
                self._report(f"reading {self._stream}", error)
                time.sleep(_RETRY_S)
        self._on_stop()
        try:
            if self._node is not None:
                self._node.ask(self._stream, "EXPIRE", self._stream, _LEFT_S)
        except redis_access.errors() as error:
            log.debug("%s is left to expire: %s", self._stream, error)
        self._let_go()

    def _step(self) -> None:
        node = self._node
        if node is None:
            node = self._node = self._place.connect(self._client_id, _BLOCK_S)
            self._come_back(node, was_there=self._renew(node))
        found: Any = node.ask(
            self._stream,
            "XREAD COUNT",
            _MOST_READ,
            "BLOCK",
            int(_BLOCK_S * 1000),
            "STREAMS",
            self._stream,
            self._position,
        )
        for entry in found[0][1] if found else ():
            self._take(*entry)
        if not found or self._untrimmed >= _MOST_READ:
            self._tidy(node)
        self._trouble.clear()

    def _take(self, entry_id: bytes, fields: Sequence[bytes]) -> None:
        try:
            self._on_entry(entry_id, fields)
        except Exception as error:  # noqa: BLE001  # its neighbours are heard all the same
            self._report(f"{self._stream}, entry {entry_id.decode()}", error)
        self._position = entry_id
        self._untrimmed += 1

    def _tidy(self, node: Node) -> None:
        """Trim what was read, and say that the stream is still wanted; make it anew where it is gone."""
        if self._untrimmed:
            node.ask(self._stream, "XTRIM", self._stream, "MINID", _after(self._position))
            self._untrimmed = 0
        is_due = time.monotonic() > self._renew_at_s
        is_there = self._renew(node) if is_due else node.ask(self._stream, "EXISTS", self._stream)
        if not is_there:
            self._come_back(node, was_there=False)

    def _come_back(self, node: Node, *, was_there: bool) -> None:
        # Entries behind the position are still to be read, unless Redis has lost them and begins anew.
        self._position = min(self._position, self._register(node), key=_order)
        if not was_there:
            lost = "was gone from Redis, and was made anew; what was asked before may stay without an answer"
            self._trouble.remember(f"{self._stream} {lost}")

    def _register(self, node: Node) -> bytes:
        """Make the stream, or say that it is still wanted; return the id of an entry that is no answer."""
        id_: bytes = node.ask(self._stream, "XADD", self._stream, "*", "open", "")
        self._renew(node)
        return id_

    def _renew(self, node: Node) -> bool:
        """Put its end off; return whether it is there."""
        self._renew_at_s = time.monotonic() + _RENEW_S
        return bool(node.ask(self._stream, "EXPIRE", self._stream, _LASTS_S))

    def _report(self, what: str, error: Exception) -> None:
        """Log what nobody has foreseen, of one kind once a minute."""
        now_s = time.monotonic()
        if type(error) is not self._fault or now_s > self._tell_at_s:
            self._fault, self._tell_at_s = type(error), now_s + _TELL_S
            log.error("%s", what, exc_info=error)

    def _miss(self, error: Exception) -> None:
        self._let_go()
        self._trouble.note(error)
        time.sleep(_RETRY_S)

    def _let_go(self) -> None:
        if self._node is not None:
            self._node.close()
            self._node = None


def _order(id_: bytes) -> tuple[int, int]:
    first, _, second = id_.partition(b"-")
    return int(first), int(second)


def _after(id_: bytes) -> bytes:
    first, second = _order(id_)
    return b"%d-%d" % (first, second + 1)
