"""Where the answer to a client goes that hears its answers on a stream of its own."""

from __future__ import annotations

from typing import Any

import pytest

from connectors.redis.formats import entries_of
from connectors.redis.record import record_of
from pipeline import redis_wire
from pipeline.connector import Answer
from pipeline.settings import RedisRouteSettings, RouteSettings

RECORD = record_of("q", b"1700000000000-0", (), b"request", b"key")


def commands(results: str, topic: str | None) -> list[list[Any]]:
    redis = RedisRouteSettings(results=results)
    route = RouteSettings(connector="redis", request_topic="q", result_topic="r", redis=redis)
    return [list(command) for command in entries_of(route).commands(RECORD, Answer(b"answer", b"key", (), topic))]


def test_a_client_is_answered_on_its_stream_where_that_is_there_and_nowhere_else() -> None:
    reply = redis_wire.reply_stream("r", "me")
    assert commands("hash", reply) == [["XADD", reply, "NOMKSTREAM", "*", b"value", b"answer", b"key", b"key"]]


def test_groups_that_read_the_result_stream_see_the_answers_to_clients_too() -> None:
    reply = redis_wire.reply_stream("r", "me")
    assert [command[:2] for command in commands("stream", reply)] == [["XADD", reply], ["XADD", "r"]]


@pytest.mark.parametrize("topic", [None, "elsewhere", "r.more@me"])
def test_others_are_answered_as_the_route_says(topic: str | None) -> None:
    assert "NOMKSTREAM" not in [word for command in commands("stream", topic) for word in command]
    assert commands("hash", topic)[0][0] == "HSET"
