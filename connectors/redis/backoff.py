"""When to ask a server that is away again."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from typing import Final

_FIRST_S: Final = 0.05
_MOST_S: Final = 2.0


class Backoff:
    """Growing pauses, each a random part longer, so that many workers do not come back at once. For one thread."""

    def __init__(self, now_s: Callable[[], float] = time.monotonic) -> None:
        self._now_s = now_s
        self._pause_s = 0.0
        self._until_s = 0.0

    @property
    def is_waiting(self) -> bool:
        """Whether the last attempt has failed."""
        return self._pause_s > 0

    def left_s(self) -> float:
        """Return for how long not to ask; 0 or less where it is time."""
        return self._until_s - self._now_s() if self._pause_s else 0.0

    def failed(self) -> None:
        """Begin the next pause."""
        self._pause_s = min(_MOST_S, max(_FIRST_S, self._pause_s * 2))
        self._until_s = self._now_s() + self._pause_s * random.uniform(1, 1.25)  # noqa: S311  # no secret

    def succeeded(self) -> None:
        """Begin from the shortest pause again."""
        self._pause_s = 0.0
