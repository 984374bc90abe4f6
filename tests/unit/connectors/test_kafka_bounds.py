"""What librdkafka may hold follows from the route, and is nothing that librdkafka refuses."""

from __future__ import annotations

import msgspec
import pytest

from connectors.kafka import bounds
from connectors.kafka.connector import KafkaConnector
from pipeline import kafka_properties
from pipeline.settings import RouteSettings

MIB = 1 << 20


@pytest.mark.parametrize(
    "route",
    [
        RouteSettings(),
        RouteSettings(max_in_flight_bytes=1),
        RouteSettings(max_record_bytes=1, max_result_bytes=1),
        RouteSettings(max_record_bytes=500 * MIB, max_in_flight_bytes=4096 * MIB),
        RouteSettings(max_record_bytes=1 << 40, max_result_bytes=1 << 40, max_in_flight_bytes=1 << 50),
    ],
    ids=["default", "tiny", "small records", "huge", "absurd"],
)
def test_a_connector_opens_with_the_bounds_of_any_route(route):
    named = msgspec.structs.replace(route, request_topic="q", result_topic="r", dead_letter_topic="d", group="g")
    connector = KafkaConnector(named, {"bootstrap.servers": "127.0.0.1:1", "log_level": 0}, "test")
    connector.open()
    connector.close(0.1)


def test_what_is_fetched_ahead_is_one_batchs_share_and_the_user_has_the_last_word():
    route = RouteSettings(max_in_flight_bytes=64 * MIB, max_batches_in_flight=4)
    ours = kafka_properties.group_consumer({}, "c", "g", **bounds.consumer(route))
    assert ours["queued.max.messages.kbytes"] == 16 * 1024
    theirs = kafka_properties.group_consumer({"queued.max.messages.kbytes": 7}, "c", "g", **bounds.consumer(route))
    assert theirs["queued.max.messages.kbytes"] == 7


def test_a_dead_letter_and_a_result_of_every_allowed_size_fit_into_the_producer():
    route = RouteSettings(max_record_bytes=40 * MIB, max_result_bytes=50 * MIB, max_in_flight_bytes=MIB)
    ours = kafka_properties.producer({}, "c", **bounds.producer(route))
    assert ours["message.max.bytes"] > 50 * MIB
    assert ours["queue.buffering.max.kbytes"] * 1024 >= ours["message.max.bytes"]
