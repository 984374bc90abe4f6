"""What ``connector_options`` of a route says is the connector's own, and is never passed over."""

from __future__ import annotations

from typing import Any

import pytest

from connectors.kafka import KafkaConnector
from connectors.memory import MemoryConnector
from connectors.redis import RedisConnector
from pipeline.connector import options_of
from pipeline.errors import InvalidSettings
from pipeline.settings import RedisSettings, RouteSettings, Section, Settings

SETTINGS = Settings(redis=RedisSettings(url="redis://localhost:6379"))
PLACE = "connector_options of the route that reads digits.requests"


class Lines(Section, frozen=True):
    path: str
    every_s: float = 2.0


def route(**options: Any) -> RouteSettings:
    return RouteSettings(request_topic="digits.requests", connector_options=options)


def test_options_are_those_of_the_connector_with_its_defaults() -> None:
    assert options_of(route(path="a"), Lines) == Lines(path="a", every_s=2.0)


@pytest.mark.parametrize(
    ("options", "words"), [({}, "path"), ({"path": 3}, "Expected `str`, got `int`"), ({"path": "a", "paht": 1}, "paht")]
)
def test_options_that_the_connector_does_not_know_are_an_error_that_names_the_route(options: Any, words: str) -> None:
    with pytest.raises(InvalidSettings, match=f"{PLACE}: .*{words}"):
        options_of(route(**options), Lines)


@pytest.mark.parametrize("connector", [MemoryConnector, KafkaConnector, RedisConnector])
def test_a_connector_without_options_takes_none(connector: Any) -> None:
    connector.from_settings(route(), SETTINGS, "me")
    with pytest.raises(InvalidSettings, match=f"{PLACE}: .*fetch"):
        connector.from_settings(route(fetch=1), SETTINGS, "me")
