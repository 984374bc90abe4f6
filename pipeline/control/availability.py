"""Whether a topic can be read at this moment, said once per change and not once per attempt."""

from __future__ import annotations

import logging
import time
from typing import TYPE_CHECKING, Final

from pipeline import kafka_refusals
from pipeline.control.error_codes import AWAY, MISSING
from pipeline.errors import AuthenticationFailed, TlsFailed
from pipeline.kafka_probe import probe
from pipeline.kafka_properties import address_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from confluent_kafka import KafkaError

    from pipeline.kafka_properties import Scalar

log = logging.getLogger(__name__)

_AWAY: Final = "away"
# A client that is not let in keeps trying, and says so again after this time.
_REMIND_S: Final = 60.0


class Availability:
    """Remembers and logs what is wrong with a topic. Used by one thread at a time; ``problem`` is read by any."""

    def __init__(self, topic: str, kafka: Mapping[str, Scalar], log_level: int = logging.WARNING) -> None:
        """``kafka``: the properties of the client, which say where it connects to and as whom."""
        self.problem: str | None = None
        """What is wrong now and what to do about it; None while all is well."""
        self._topic, self._kafka, self._log_level = topic, kafka, log_level
        self._kind: str | None = None
        self._is_refused = False
        self._said_s = 0.0

    def missed(self, error: KafkaError) -> None:
        """Note an error that may heal by itself; logged unless it is the one that is known already.

        A client that is not let in (TLS, SASL) is told of again every minute. Where no connection comes about the
        broker's port is looked at, which may take seconds.
        """
        kind, problem = self._kind_of(error)
        # That nobody answers is no news where it is known why.
        is_known = kind == self._kind or (kind == _AWAY and self._is_refused)
        if is_known and not (self._is_refused and time.monotonic() - self._said_s > _REMIND_S):
            return
        found = probe(self._kafka) if kind in (_AWAY, TlsFailed.code) else None
        if isinstance(found, TlsFailed):
            problem = str(found)
        self._is_refused = isinstance(found, TlsFailed) or kind in (TlsFailed.code, AuthenticationFailed.code)
        is_said = problem == self.problem and not is_known  # the same, found out by another complaint
        self._kind, self.problem = kind, problem
        if not is_said:
            self._said_s = time.monotonic()
            log.log(self._log_level, "topic %s: %s; waiting", self._topic, problem)

    def found(self) -> None:
        """Note that the topic was found; logged when it had been missed before."""
        if self._kind is not None:
            log.log(self._log_level, "topic %s: can be read again", self._topic)
        self.problem, self._kind, self._is_refused = None, None, False

    def _kind_of(self, error: KafkaError) -> tuple[str, str]:
        refusal = kafka_refusals.explain(error, self._kafka)
        if refusal is not None:
            return refusal.code, str(refusal)
        if error.code() in MISSING:
            return "missing", "it does not exist; create it with: penstock topics --create"
        if error.code() in AWAY:
            return _AWAY, f"no broker answers at {address_of(self._kafka)}"
        return error.name(), kafka_refusals.text_of(error, self._kafka)
