"""Admin: an admin client that knows why the broker does not let it in."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from confluent_kafka import KafkaError, KafkaException
from confluent_kafka.admin import AdminClient

from pipeline import kafka_properties, kafka_refusals
from pipeline.errors import ConnectorError, TlsFailed
from pipeline.kafka_access import Acl
from pipeline.kafka_probe import probe


class Admin(AdminClient):
    """An AdminClient whose failures are errors of ours. For one thread; hold it while its futures are waited for."""

    def __init__(self, kafka: Mapping[str, kafka_properties.Scalar]) -> None:
        """Connects in the background; raises ConnectorError for settings that are none."""
        self._kafka = kafka
        self._refusal: ConnectorError | None = None
        properties: dict[str, Any] = {
            "log_level": 0,
            **kafka_properties.admin(kafka, "penstock"),
        }  # what goes wrong is raised
        properties["error_cb"] = self._on_error
        try:
            super().__init__(properties)
        except KafkaException as error:
            raise ConnectorError("kafka settings", kafka_refusals.text_of(error.args[0], kafka)) from error

    def failure(self, error: KafkaException, acl: Acl | None = None) -> ConnectorError:
        """Return the error of a request that failed: which ACL it lacks, why we are not let in, or what was said.

        Looks at the broker's port where no connection came about, which takes seconds.
        """
        self.poll(0)  # has ``error_cb`` called
        reason: KafkaError = error.args[0]
        if acl is not None:
            refusal = kafka_refusals.explain_request(reason, self._kafka, acl)
            if refusal is not None:
                return refusal
        found = probe(self._kafka) if reason.code() in kafka_refusals.UNREACHED else None
        said = ConnectorError(
            f"Kafka at {kafka_properties.address_of(self._kafka)}", kafka_refusals.text_of(reason, self._kafka)
        )
        # The look at the port tells apart what librdkafka calls by one name.
        return found if isinstance(found, TlsFailed) else self._refusal or said

    def _on_error(self, error: KafkaError) -> None:
        self._refusal = kafka_refusals.explain(error, self._kafka) or self._refusal
