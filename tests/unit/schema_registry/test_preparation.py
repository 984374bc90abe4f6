"""A route takes requests when the registry has answered once, and goes on whatever becomes of it."""

from __future__ import annotations

import sys

import pytest

from pipeline.codecs import confluent, schemas
from pipeline.codecs.codec import Limits
from pipeline.errors import MissingExtra, SchemaUnavailable
from pipeline.records import PredictRequest
from pipeline.schema_registry.client import RegistryClient
from pipeline.schema_registry.of_worker import WorkerSchemas
from pipeline.settings import RouteSettings, SchemaRegistrySettings
from pipeline.testing.fakes import FakeClock, InlineExecutor
from tests.schema_registry.stand_in import StandIn

REQUEST, RESULT = schemas.text("PredictRequest"), schemas.text("PredictResult")
ROUTE = RouteSettings(servable="a", request_topic="a.requests", result_topic="a.results")
FRAMED = RouteSettings(servable="a", request_topic="a.requests", result_topic="a.results", framing_out="confluent")
BODY = confluent.of_id(1) + b"\2a" + bytes(7)  # a request with nothing but an id


class Stage:
    def __init__(self, stand_in: StandIn, **settings: object) -> None:
        self.clock = FakeClock()
        self.schemas = WorkerSchemas(
            SchemaRegistrySettings(url=stand_in.url, timeout_s=1.0, **settings),  # type: ignore[arg-type]  # by name
            self.clock,
            InlineExecutor(),
        )

    def polls(self, poll: object, seconds: float = 1.0) -> bool:
        """Poll until an attempt was made and looked at."""
        self.clock.advance(seconds)
        assert callable(poll)
        return bool(poll() or poll())


def test_without_a_registry_there_is_nothing_to_wait_for() -> None:
    codec, poll = WorkerSchemas(SchemaRegistrySettings(), FakeClock(), InlineExecutor()).route(ROUTE)
    assert poll is None
    assert not codec.reads_names


def test_a_route_waits_for_a_registry_that_is_away_at_the_start_and_then_knows_the_versions_of_its_requests(
    stand_in: StandIn,
) -> None:
    stand_in.register("a.requests-value", REQUEST)
    stage = Stage(stand_in)
    codec, poll = stage.schemas.route(ROUTE)
    stand_in.stop()
    assert not stage.polls(poll)
    stand_in.start()
    assert not stage.polls(poll, 0.1)  # not at every look
    assert stage.polls(poll, 60)
    stand_in.stop()
    assert stage.polls(poll)
    assert codec.decode_request(BODY, Limits()) == PredictRequest("a")
    with pytest.raises(SchemaUnavailable):
        codec.decode_request(confluent.of_id(2) + BODY[5:], Limits())
    stage.schemas.close()


def test_a_route_with_framed_results_waits_for_their_schema_and_says_once_what_is_missing(
    stand_in: StandIn, caplog: pytest.LogCaptureFixture
) -> None:
    stage = Stage(stand_in)
    codec, poll = stage.schemas.route(FRAMED)
    for _ in range(5):
        assert not stage.polls(poll, 60)
    assert len(caplog.records) == 1
    assert "a.results-value" in caplog.text
    stand_in.register("a.results-value", RESULT)
    assert stage.polls(poll, 60)
    assert codec._results.prefix == confluent.of_id(1)
    stage.schemas.close()


@pytest.mark.parametrize(
    ("strategy", "subject"),
    [
        ("topic", "a.results-value"),
        ("record", "penstock.PredictResult"),
        ("topic_record", "a.results-penstock.PredictResult"),
    ],
)
def test_the_results_schema_is_registered_where_that_is_set_in_the_subject_of_the_strategy(
    stand_in: StandIn, strategy: str, subject: str
) -> None:
    stage = Stage(stand_in, auto_register=True, subject_name_strategy=strategy)
    _, poll = stage.schemas.route(FRAMED)
    assert stage.polls(poll)
    assert list(stand_in.subjects) == [subject]
    stage.schemas.close()


def test_a_pattern_route_waits_for_any_answer(stand_in: StandIn) -> None:
    stage = Stage(stand_in)
    _, poll = stage.schemas.route(RouteSettings(servable="a", request_topic="^.*\\.requests", result_topic="r"))
    assert stage.polls(poll)
    stage.schemas.close()


def test_the_extra_that_is_missing_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "confluent_kafka.schema_registry", None)
    with pytest.raises(MissingExtra, match=r"penstock-serving\[schema-registry\]"):
        RegistryClient(SchemaRegistrySettings(url="http://localhost:1"))
