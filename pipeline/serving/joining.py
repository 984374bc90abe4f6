"""How many batches of a route are computed together: more where many streams share them. No thread, no clock."""

from __future__ import annotations

from typing import Final

from pipeline.settings import RouteSettings

# With so many requests a call of a small model costs little more than its rows.
_REQUESTS_A_STREAM: Final = 32
# What is computed together keeps its answers until all of it is done: no longer than this.
_LONGEST_S: Final = 0.5
# Times ``max_batches_in_flight`` is what may be in flight then: as far as a connector has to tell what was.
_MOST_IN_FLIGHT: Final = 16
# How many times as many as before are joined at most.
_GROWTH: Final = 4


class Joining:
    """Chooses it by what the last computation came to; for one thread at a time.

    Enough batches that each stream has some requests in them, if they take no longer than half a second; one
    where a batch does that already, or lasts that long. They grow by steps, so that a stream that is slow now and then
    keeps them few, and become one at once. A route with a circuit, which counts batches, has one.
    """

    def __init__(self, route: RouteSettings) -> None:
        self._batch_size = route.max_batch_size
        more = (_MOST_IN_FLIGHT - 1) * route.max_batches_in_flight
        self._most = 1 if route.circuit.after_batches else 1 + more // 2
        self._together = 1

    @property
    def together(self) -> int:
        """How many batches the next computation may take."""
        return self._together

    @property
    def more_in_flight(self) -> int:
        """How many batches more may be in flight: those, and as many that are taken while they are computed."""
        return 2 * (self._together - 1)

    def note(self, requests: int, streams: int, seconds: float) -> None:
        """Take in how many requests of how many streams a computation had, and how long it took."""
        wanted = streams * min(_REQUESTS_A_STREAM, self._batch_size)
        in_time = requests * _LONGEST_S / seconds if seconds > 0 else wanted
        batches = int(min(wanted, in_time)) // self._batch_size
        self._together = max(1, min(_GROWTH * self._together, self._most, batches))
