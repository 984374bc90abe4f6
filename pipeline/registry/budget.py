"""How much memory all loaded versions may need together, by their loaders' estimates."""

from __future__ import annotations

import enum
import logging
import threading
from collections.abc import Callable, Hashable, Mapping
from typing import Final

logger = logging.getLogger(__name__)


class WhenShort(enum.StrEnum):
    """What becomes of a load that does not fit now."""

    WAIT = "wait"
    REFUSE = "refuse"


class Verdict(enum.Enum):
    """What the budget says to a load."""

    ADMITTED = "it fits; its bytes are reserved"
    DEFERRED = "it does not fit now and waits"
    REFUSED = "it does not fit"


UNLIMITED: Final = 0


def fitting(limit_bytes: int, reserved_bytes: int, waiting: Mapping[Hashable, int]) -> tuple[Hashable, ...]:
    """Return who of those that wait fits now, in the order of their coming. Pure.

    One that fits passes one before it that does not: a version that waits must not hold up other streams. So a large
    one may wait for as long as small ones come and go.
    """
    admitted = []
    for who, needed_bytes in waiting.items():
        if reserved_bytes + needed_bytes <= limit_bytes:
            reserved_bytes += needed_bytes
            admitted.append(who)
    return tuple(admitted)


class Budget:
    """Reserves memory for loads, and calls back those that had to wait, in order, when it is released.

    Any thread; nothing blocks, and no lock is held while a callback runs. A limit of 0 admits everything. An estimate
    that exceeds the whole limit is refused whatever ``when_short`` says: waiting would not help.
    """

    def __init__(self, limit_bytes: int = UNLIMITED, when_short: WhenShort = WhenShort.WAIT) -> None:
        self.limit_bytes = limit_bytes
        self._when_short = when_short
        self._lock = threading.Lock()
        self._reserved: dict[Hashable, int] = {}
        self._waiting: dict[Hashable, int] = {}
        self._callbacks: dict[Hashable, Callable[[], None]] = {}

    @property
    def reserved_bytes(self) -> int:
        """What is reserved now."""
        with self._lock:
            return sum(self._reserved.values())

    def reserve(self, who: Hashable, needed_bytes: int, on_admitted: Callable[[], None]) -> Verdict:
        """Reserve bytes for one load; DEFERRED: ``on_admitted`` is called once they are reserved.

        For who has a reservation already this says ADMITTED and changes nothing.
        """
        if self.limit_bytes == UNLIMITED:
            return Verdict.ADMITTED
        with self._lock:
            if who in self._reserved:
                return Verdict.ADMITTED
            if fitting(self.limit_bytes, sum(self._reserved.values()), {who: needed_bytes}):
                self._reserved[who] = needed_bytes
                return Verdict.ADMITTED
            if needed_bytes > self.limit_bytes or self._when_short is WhenShort.REFUSE:
                return Verdict.REFUSED
            self._waiting[who], self._callbacks[who] = needed_bytes, on_admitted
            return Verdict.DEFERRED

    def reduce(self, who: Hashable, needed_bytes: int) -> None:
        """Give back what a reservation has too much; one that would grow stays as it is, and a warning says so."""
        with self._lock:
            before = self._reserved.get(who)
            if before is None or needed_bytes == before:
                return
            self._reserved[who] = min(before, needed_bytes)
        if needed_bytes > before:
            logger.warning("%s needs %d bytes by its loader's word, it had said %d", who, needed_bytes, before)
        self._admit()

    def release(self, who: Hashable) -> None:
        """Give a reservation, or a place among those that wait, back. Does nothing for who has neither."""
        with self._lock:
            self._reserved.pop(who, None)
            self._waiting.pop(who, None)
            self._callbacks.pop(who, None)
        self._admit()

    def _admit(self) -> None:
        with self._lock:
            admitted = fitting(self.limit_bytes, sum(self._reserved.values()), self._waiting)
            for who in admitted:
                self._reserved[who] = self._waiting.pop(who)
            calls = [self._callbacks.pop(who) for who in admitted]
        for call in calls:
            call()
