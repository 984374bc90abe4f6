"""Where librdkafka's own log lines go: to a logger of ours, without secrets."""

from __future__ import annotations

import logging
from collections.abc import Mapping

from pipeline.kafka_properties import Scalar
from pipeline.redaction import without_secrets


class ClientLog:
    """What a client of confluent-kafka takes as its ``logger``; its lines come while that client is polled.

    librdkafka hides what it knows to be a secret, and repeats some of the text it can not parse. ``kafka``: the
    properties whose secrets are taken out.
    """

    def __init__(self, logger: logging.Logger, kafka: Mapping[str, Scalar]) -> None:
        self._logger, self._kafka = logger, dict(kafka)

    def log(self, level: int, message: str, *arguments: object) -> None:
        """Log one line. Called by confluent-kafka, on the thread that polls."""
        if self._logger.isEnabledFor(level):
            text = message % arguments if arguments else message
            self._logger.log(level, "%s", without_secrets(text, self._kafka))
