"""The broker that the demo runs on: embedded, a real Kafka on this machine, or the user's own."""

from __future__ import annotations

import logging
import secrets
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from pipeline import kafka_properties
from pipeline.control import topics

if TYPE_CHECKING:
    from pipeline.settings import Scalar, Settings

log = logging.getLogger(__name__)

_DELETE_TIMEOUT_S: Final = 10.0
_MOCK_FETCH_WAIT_MS: Final = 5


@dataclass(frozen=True)
class Broker:
    """A running broker: how to reach it, what to call it, and the demo's names on it.

    ``create_topics`` makes what a worker with these settings needs; called once. ``control`` is the settings' section.
    """

    kafka: Mapping[str, Scalar]
    text: str
    route: str
    control: Mapping[str, str]
    create_topics: Callable[[Settings], None]


@contextmanager
def embedded() -> Iterator[Broker]:
    """A mock cluster of librdkafka's in this process: nothing to install, ready at once, gone with the demo."""
    from pipeline.local.mock import MockKafka

    with MockKafka() as mock:

        def create(settings: Settings) -> None:
            for spec in topics.wanted(settings):
                mock.create_topic(spec.name, spec.partitions or topics.DEFAULT_PARTITIONS)

        text = "embedded test broker (librdkafka's mock cluster, in memory)"
        # The mock answers a fetch that found nothing when its time is over, and not when a record has come meanwhile.
        kafka: dict[str, Scalar] = {"bootstrap.servers": mock.bootstrap, "fetch.wait.max.ms": _MOCK_FETCH_WAIT_MS}
        yield Broker(kafka, text, "digits", {}, create)


@contextmanager
def local_kafka() -> Iterator[Broker]:
    """A real Kafka on this machine, without Docker; raises LocalBrokerError where the extra ``broker`` is missing."""
    from pipeline.local.kafka import LocalKafka

    with LocalKafka() as kafka:
        text = f"Apache Kafka on this machine ({kafka.bootstrap})"
        yield Broker({"bootstrap.servers": kafka.bootstrap}, text, "digits", {}, _create)


@contextmanager
def own(kafka: Mapping[str, Scalar]) -> Iterator[Broker]:
    """The user's own Kafka. The demo's topics have names that nobody else uses, and are deleted at the end."""
    route = f"penstock-demo-{secrets.token_hex(4)}"
    control = {"aspired_topic": f"{route}.aspired-versions", "states_topic": f"{route}.servable-states"}
    created: list[str] = []

    def create(settings: Settings) -> None:
        created.extend(spec.name for spec in topics.wanted(settings))
        _create(settings)

    try:
        yield Broker(kafka, f"Kafka at {kafka['bootstrap.servers']}", route, control, create)
    finally:
        if created:
            _forget(kafka, created, f"penstock.{route}")


def _create(settings: Settings) -> None:
    from pipeline.control.topic_admin import create_missing

    create_missing(settings.kafka, topics.wanted(settings))


def _forget(kafka: Mapping[str, Scalar], names: list[str], group: str) -> None:
    from confluent_kafka import KafkaException
    from confluent_kafka.admin import AdminClient

    try:
        admin = AdminClient(kafka_properties.admin(kafka, "penstock-demo"))
        futures = {
            **admin.delete_topics(names, operation_timeout=_DELETE_TIMEOUT_S),
            **admin.delete_consumer_groups([group], request_timeout=_DELETE_TIMEOUT_S),
        }
    except KafkaException as error:
        log.warning("the demo's topics %s are left behind: %s", ", ".join(names), error)
        return
    for name, future in futures.items():
        try:
            future.result(_DELETE_TIMEOUT_S)
        except (KafkaException, TimeoutError) as error:
            log.warning("%s is left behind on the broker: %s", name, error)
