"""Whether a topic can be read at this moment, said once per change and not once per attempt."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from pipeline.control.error_codes import AWAY, MISSING, REFUSED

if TYPE_CHECKING:
    from confluent_kafka import KafkaError

log = logging.getLogger(__name__)


class Availability:
    """Remembers and logs what is wrong with a topic. Used by one thread at a time; ``problem`` is read by any."""

    def __init__(self, topic: str, address: str, log_level: int = logging.WARNING) -> None:
        self.problem: str | None = None
        """What is wrong now and what to do about it; None while all is well."""
        self._topic, self._address, self._log_level = topic, address, log_level
        self._kind: str | None = None
        self._is_refused = False

    def missed(self, error: KafkaError) -> None:
        """Note an error that may heal by itself; logged unless it is the one that is known already."""
        code = error.code()
        if code in MISSING:
            kind, problem = "missing", "it does not exist; create it with: penstock topics --create"
        elif code in AWAY:
            kind, problem = "away", f"no broker answers at {self._address}"
        else:
            kind, problem = error.name(), f"{error.str()} ({error.name()})"
        if kind == self._kind or (kind == "away" and self._is_refused):
            return
        self._kind, self.problem, self._is_refused = kind, problem, code in REFUSED
        log.log(self._log_level, "topic %s: %s; waiting", self._topic, problem)

    def found(self) -> None:
        """Note that the topic was found; logged when it had been missed before."""
        if self._kind is not None:
            log.log(self._log_level, "topic %s: can be read again", self._topic)
        self.problem, self._kind, self._is_refused = None, None, False
