"""KafkaTrouble: what Kafka complained about last, for the error of a caller who waited in vain."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping
from typing import Final

from confluent_kafka import KafkaError

from pipeline import kafka_refusals
from pipeline.errors import ConnectorError, TlsFailed
from pipeline.kafka_access import Acl
from pipeline.kafka_probe import probe
from pipeline.kafka_properties import Scalar

log = logging.getLogger(__name__)

_LOOK_S: Final = 0.5


class KafkaTrouble:
    """Shared by the two halves of a link; any thread may use it. The first of a row of complaints is logged."""

    def __init__(self, what: str, kafka: Mapping[str, Scalar]) -> None:
        """``kafka``: the properties of the client, for what to do about a refusal."""
        self._what, self._kafka = what, kafka
        self._text = ""
        self._at_s = 0.0
        self.refusal: ConnectorError | None = None
        """Why the broker does not let this client in; None where it does, or that is not known."""

    def note(self, error: KafkaError, acl: Acl | None = None) -> None:
        """Remember a complaint; librdkafka's ``error_cb``. ``acl``: what the request needed that it is about.

        Why we are not let in is not overwritten by that we are not.
        """
        if error.code() == KafkaError.GROUP_AUTHORIZATION_FAILED:  # for a coordinator that nobody here needs
            return
        explain = kafka_refusals.explain
        refusal = explain(error, self._kafka) if acl is None else self.explains(acl)(error)
        if refusal is None and self.refusal is not None and error.code() in kafka_refusals.UNREACHED:
            return
        text = str(refusal or kafka_refusals.text_of(error, self._kafka))
        if text != self._text and (not self._text or refusal is not None):
            log.warning("%s: %s", self._what, text)
        self._text, self._at_s, self.refusal = text, time.monotonic(), refusal

    def why_not_let_in(self) -> ConnectorError | None:
        """Return why no connection comes about: what Kafka said, or what a look at its port tells, which takes time."""
        found = probe(self._kafka, _LOOK_S)
        return found if isinstance(found, TlsFailed) else self.refusal

    def explains(self, acl: Acl) -> Callable[[KafkaError], ConnectorError | None]:
        """Return what explains an error of a request that needs an ACL."""
        return lambda error: kafka_refusals.explain_request(error, self._kafka, acl)

    def clear(self) -> None:
        """Forget it: something has come."""
        self._text, self.refusal = "", None

    def __str__(self) -> str:
        """The end of a sentence; empty where there is no trouble."""
        text = self._text
        return f" (kafka, {time.monotonic() - self._at_s:.1f} s ago: {text})" if text else ""
