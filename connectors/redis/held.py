"""Which entries this worker has: taken from the stream, and not answered yet."""

from __future__ import annotations

import threading
from collections.abc import Collection, Iterable


class Held:
    """Ids of entries, each with how many workers have died with it before. Thread-safe: deliveries drop."""

    def __init__(self) -> None:
        self._ids: dict[bytes, int] = {}  # in the order in which they came
        self._changed = threading.Condition()

    def add(self, ids: Iterable[bytes], deaths: int = 0) -> None:
        """Note entries that have been taken."""
        with self._changed:
            self._ids.update(dict.fromkeys(ids, deaths))

    def drop(self, ids: Iterable[bytes]) -> None:
        """Forget entries that are answered, or another worker's; unknown ones are no error."""
        with self._changed:
            for id_ in ids:
                self._ids.pop(id_, None)
            self._changed.notify_all()

    def by_deaths(self) -> dict[int, list[bytes]]:
        """Return them by their deaths, the oldest first."""
        with self._changed:
            found: dict[int, list[bytes]] = {}
            for id_, deaths in self._ids.items():
                found.setdefault(deaths, []).append(id_)
            return found

    def without(self, ids: Iterable[bytes]) -> Collection[bytes]:
        """Return those of ``ids`` that it has not."""
        with self._changed:
            return [id_ for id_ in ids if id_ not in self._ids]

    def wait_until_at_most(self, count: int, timeout_s: float) -> bool:
        """Return whether it had no more than so many within the time."""
        with self._changed:
            return self._changed.wait_for(lambda: len(self._ids) <= count, timeout_s)
