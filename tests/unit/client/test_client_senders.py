"""Why a broker does not let a client in reaches the caller as it is: sending again does not help."""

from __future__ import annotations

import pytest
from confluent_kafka import KafkaError

from pipeline.client.kafka.sender import KafkaSender
from pipeline.client.kafka.trouble import KafkaTrouble
from pipeline.client.outgoing import Outgoing
from pipeline.client.redis.place import RedisPlace
from pipeline.client.redis.sender import RedisSender
from pipeline.client.redis.trouble import RedisTrouble
from pipeline.errors import AccessDenied, AuthenticationFailed, ConnectorError, TlsFailed

REFUSED = {
    AccessDenied: KafkaError.TOPIC_AUTHORIZATION_FAILED,
    AuthenticationFailed: KafkaError.SASL_AUTHENTICATION_FAILED,
    TlsFailed: KafkaError._SSL,
}


class Request:
    """A record that comes back with the report of its delivery."""

    def headers(self):
        return []

    def key(self):
        return b"a"


def kafka_sender():
    properties = {"bootstrap.servers": "127.0.0.1:1"}
    return KafkaSender("q", properties, KafkaTrouble("test", properties), lambda id_, error: False)


def redis_sender():
    place = RedisPlace.of({"url": "redis://127.0.0.1:1"}, 0)
    return RedisSender(place, "q", "test", RedisTrouble(place), lambda id_, error: False)


def refused_by_kafka(code):
    sender = kafka_sender()
    sender._on_delivery(KafkaError(code), Request())
    return sender


def refused_by_redis(failure):
    sender = redis_sender()
    sender._fail(Outgoing("a", b"", b"a", ()), failure)
    return sender


@pytest.mark.parametrize("kind", REFUSED)
@pytest.mark.parametrize("broker", ["kafka", "redis"])
def test_a_refusal_is_raised_as_it_is(broker, kind):
    sender = refused_by_kafka(REFUSED[kind]) if broker == "kafka" else refused_by_redis(kind("redis", "it is refused"))
    with pytest.raises(kind) as caught:
        sender.check()
    assert not caught.value.retriable


@pytest.mark.parametrize("broker", ["kafka", "redis"])
def test_what_may_succeed_later_is_counted(broker):
    passing = ConnectorError("redis", "it is full")
    sender = refused_by_kafka(KafkaError._MSG_TIMED_OUT) if broker == "kafka" else refused_by_redis(passing)
    with pytest.raises(ConnectorError, match="1 earlier requests were not delivered") as caught:
        sender.check()
    assert caught.value.retriable
    sender.check()
