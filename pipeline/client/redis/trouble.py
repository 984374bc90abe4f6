"""RedisTrouble: why Redis could not be used when it was tried last, for the error of a caller who waited in vain."""

from __future__ import annotations

import logging
import time

from pipeline.client.redis.place import RedisPlace
from pipeline.errors import ConnectorError

log = logging.getLogger(__name__)


class RedisTrouble:
    """Shared by the two halves of a link; any thread may use it. The first of a row is logged."""

    def __init__(self, place: RedisPlace) -> None:
        self._place = place
        self._text = ""
        self._at_s = 0.0

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

    def __str__(self) -> str:
        """The end of a sentence; empty where there is no trouble."""
        text = self._text
        return f" ({time.monotonic() - self._at_s:.1f} s ago: {text})" if text else ""
