"""Trouble: what Kafka complained about last, for the error of a caller who waited in vain."""

from __future__ import annotations

import logging
import time

from confluent_kafka import KafkaError

log = logging.getLogger(__name__)


class Trouble:
    """Shared by the two halves of a connection; any thread may use it. The first of a row of complaints is logged."""

    def __init__(self, what: str) -> None:
        self._what = what
        self._text = ""
        self._at_s = 0.0

    def note(self, error: KafkaError) -> None:
        """Remember a complaint; librdkafka's ``error_cb``."""
        if not self._text:
            log.warning("%s: %s", self._what, error.str())
        self._text, self._at_s = error.str(), time.monotonic()

    def clear(self) -> None:
        """Forget it: something has come."""
        self._text = ""

    def __str__(self) -> str:
        """The end of a sentence; empty where there is no trouble."""
        text = self._text
        return f" (kafka, {time.monotonic() - self._at_s:.1f} s ago: {text})" if text else ""
