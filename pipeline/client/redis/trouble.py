"""RedisTrouble: why Redis could not be used when it was tried last, for the error of a caller who waited in vain."""

from __future__ import annotations

import logging
import time
from typing import Final

from pipeline.client.redis.place import RedisPlace
from pipeline.errors import ConnectorError

log = logging.getLogger(__name__)

# Whoever waited in vain for longer than this has to look into the log.
_REMEMBERED_S: Final = 600.0


class RedisTrouble:
    """Shared by the two halves of a link; any thread may use it. The first of a row is logged."""

    def __init__(self, place: RedisPlace) -> None:
        self._place = place
        self._text = self._past = ""
        self._at_s = self._past_at_s = 0.0

    def note(self, error: Exception) -> ConnectorError:
        """Remember what redis-py has raised, and return it in our words."""
        failure = self._place.failure(error)
        if not self._text:
            log.warning("%s", failure)
        self._text, self._at_s = str(failure), time.monotonic()
        return failure

    def clear(self) -> None:
        """Forget it: Redis has answered."""
        self._text = ""

    def remember(self, text: str) -> None:
        """Log what Redis' answers do not heal, and tell of it for ten minutes."""
        log.warning("%s", text)
        self._past, self._past_at_s = text, time.monotonic()

    def __str__(self) -> str:
        """The end of a sentence; empty where there is no trouble."""
        text, ago_s = self._text, time.monotonic() - self._at_s
        if not text:
            text, ago_s = self._past, time.monotonic() - self._past_at_s
            text = text if ago_s < _REMEMBERED_S else ""
        return f" ({ago_s:.1f} s ago: {text})" if text else ""
