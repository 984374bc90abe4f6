"""Time, passed in: the one place where the clock of the machine is read for decisions."""

from __future__ import annotations

import time
from typing import Protocol


class Clock(Protocol):
    """Two clocks: one that never steps back, for durations, and one that the outside world shares, for deadlines."""

    def monotonic_s(self) -> float:
        """Seconds from an arbitrary start; never steps back."""
        ...

    def unix_ms(self) -> int:
        """Milliseconds since the Unix epoch."""
        ...


class SystemClock:
    """The clock of this machine."""

    def monotonic_s(self) -> float:
        """See Clock."""
        return time.monotonic()

    def unix_ms(self) -> int:
        """See Clock."""
        return time.time_ns() // 1_000_000
