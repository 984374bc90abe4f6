"""Refusals: which ACL of a route the broker's error is about, or why it does not let the worker in."""

from __future__ import annotations

from collections.abc import Mapping

from confluent_kafka import KafkaError

from connectors.kafka.transaction_errors import explain
from pipeline import kafka_refusals
from pipeline.errors import AccessDenied, ConnectorError
from pipeline.kafka_access import Acl, denied
from pipeline.kafka_properties import Scalar
from pipeline.settings import RouteSettings


class Refusals:
    """Turns librdkafka's errors of one route into ours. Pure; any thread may call.

    A missing ACL stops the worker: it would hold partitions that others can answer. A broker that does not let the
    worker in at all is waited for: then it holds none.
    """

    def __init__(self, route: RouteSettings, kafka: Mapping[str, Scalar]) -> None:
        self._route, self._kafka = route, dict(kafka)

    def of_consumer(self, error: KafkaError, topic: str | None = None) -> AccessDenied | None:
        """Return which ACL the consumer lacks; None where the error is about something else."""
        is_group = error.code() == KafkaError.GROUP_AUTHORIZATION_FAILED
        topic = topic or self._route.request_topic
        acl = Acl("group", self._route.group, "Read") if is_group else Acl("topic", topic, "Read")
        found = kafka_refusals.explain_request(error, self._kafka, acl)
        return found if isinstance(found, AccessDenied) else None

    def of_transaction(self, error: KafkaError, transactional_id: str) -> ConnectorError:
        """Return why a call of a transaction, which does not heal, has failed."""
        if error.code() == KafkaError.TRANSACTIONAL_ID_AUTHORIZATION_FAILED:
            return denied(self._kafka, Acl("transactional-id", transactional_id, "Write"))
        is_group = error.code() == KafkaError.GROUP_AUTHORIZATION_FAILED
        found = self.of_consumer(error) if is_group else None
        return found or ConnectorError("kafka transactions", explain(error, transactional_id))

    def of_producer(self, error: KafkaError, topic: str) -> ConnectorError:
        """Return why a record for ``topic`` is not taken."""
        found = kafka_refusals.explain_request(error, self._kafka, Acl("topic", topic, "Write"))
        step = "; create it with: penstock topics --create" if error.code() in kafka_refusals.NO_SUCH_TOPIC else ""
        return found or ConnectorError(f"topic {topic}", f"{self.text_of(error)}{step}")

    def text_of(self, error: KafkaError) -> str:
        """Return what librdkafka says and, where it is known, what to do; without secrets."""
        refusal = kafka_refusals.explain(error, self._kafka)
        return str(refusal or kafka_refusals.text_of(error, self._kafka))
