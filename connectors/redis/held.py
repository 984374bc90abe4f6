"""Which entries this worker has: taken from the stream, and not answered yet."""

from __future__ import annotations

import threading
from collections.abc import Collection, Iterable


class Held:
    """Ids of entries. Thread-safe: the feeder adds, deliveries drop."""

    def __init__(self) -> None:
        self._ids: dict[bytes, None] = {}  # in the order in which they came
        self._lock = threading.Lock()

    def add(self, ids: Iterable[bytes]) -> None:
        """Note entries that have been taken."""
        with self._lock:
            self._ids.update(dict.fromkeys(ids))

    def drop(self, ids: Iterable[bytes]) -> None:
        """Forget entries that are answered, or another worker's; unknown ones are no error."""
        with self._lock:
            for id_ in ids:
                self._ids.pop(id_, None)

    def all(self) -> list[bytes]:
        """Return them, the oldest first."""
        with self._lock:
            return list(self._ids)

    def without(self, ids: Iterable[bytes]) -> Collection[bytes]:
        """Return those of ``ids`` that it has not."""
        with self._lock:
            return [id_ for id_ in ids if id_ not in self._ids]
