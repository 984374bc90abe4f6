"""Room: how much a front end holds at once. For one event loop."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from pipeline.front_end.refusal import Refusal


class Room:
    """Counts what is in flight, and lets no more in than ``most_instances`` and ``most_bytes`` of bodies.

    A body that is larger than all the room is let in alone.
    """

    def __init__(self, most_instances: int, most_bytes: int) -> None:
        self._most_instances, self._most_bytes = most_instances, most_bytes
        self.instances = self._bytes = 0

    @contextmanager
    def taken(self, instances: int, size_bytes: int = 0) -> Iterator[None]:
        """Take room for as long as the block lasts; raises Refusal where there is none now."""
        is_full = self.instances + instances > self._most_instances
        is_heavy = size_bytes and self._bytes and self._bytes + size_bytes > self._most_bytes
        if is_full or is_heavy:
            reason = f"{self.instances} instances are being answered, {self._bytes} bytes of bodies; try again"
            raise Refusal(503, "busy", reason)
        self.instances += instances
        self._bytes += size_bytes
        try:
            yield
        finally:
            self.instances -= instances
            self._bytes -= size_bytes
