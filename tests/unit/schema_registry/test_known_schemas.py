"""What was seen once is known for ever; a registry that is away holds up nobody for long, and never who only looks."""

from __future__ import annotations

import pytest

from pipeline.codecs import confluent, schemas
from pipeline.errors import ConnectorError, SchemaUnavailable, Undecodable
from pipeline.schema_registry.client import Registered
from pipeline.schema_registry.known_schemas import KnownSchemas
from pipeline.testing.fakes import FakeClock

WAIT_S = 10.0
REQUEST = Registered(schemas.text("PredictRequest"))
ONE, TWO = confluent.of_id(1), confluent.of_id(2)


class FakeRegistry:
    """Has what it is given; counts what it is asked; while ``is_away`` it takes ``slow_s`` to say so."""

    def __init__(self, clock: FakeClock) -> None:
        self.has: dict[bytes, Registered] = {}
        self.subjects: dict[tuple[str, int | str], Registered] = {}
        self.asked: list[bytes] = []
        self.is_away = False
        self.slow_s = 0.0
        self._clock = clock

    def named(self, name: bytes) -> Registered | None:
        self.asked.append(name)
        if self.is_away:
            self._clock.advance(self.slow_s)
            raise ConnectorError("registry", "connection refused")
        return self.has.get(name)

    def version(self, subject: str, version: int | str = "latest") -> Registered | None:
        return self.subjects.get((subject, version))


class Stage:
    def __init__(self) -> None:
        self.clock = FakeClock()
        self.registry = FakeRegistry(self.clock)
        self.paused: list[float] = []
        self.known = KnownSchemas(self.registry, self.clock, WAIT_S, self.pause)

    def pause(self, seconds: float) -> None:
        self.paused.append(seconds)
        self.clock.advance(seconds)

    def is_known(self, name: bytes) -> bool:
        return self.known.find(name).prefix == schemas.prefix("PredictRequest")


@pytest.fixture
def stage() -> Stage:
    return Stage()


def test_looking_asks_nobody(stage: Stage) -> None:
    stage.registry.has[ONE] = REQUEST
    with pytest.raises(SchemaUnavailable, match="id 1"):
        stage.known.find(ONE)
    assert not stage.registry.asked


def test_a_schema_is_asked_for_once_however_often_it_is_needed(stage: Stage) -> None:
    stage.registry.has[ONE] = REQUEST
    for _ in range(3):
        stage.known.fetch([ONE])
        stage.clock.advance(10**6)
        assert stage.is_known(ONE)
    assert stage.registry.asked == [ONE]


def test_what_is_known_stays_known_while_the_registry_is_away(stage: Stage) -> None:
    stage.registry.has[ONE] = REQUEST
    stage.known.fetch([ONE])
    stage.registry.is_away = True
    stage.known.fetch([TWO])
    assert stage.is_known(ONE)


def test_a_registry_that_comes_back_in_time_is_not_noticed(stage: Stage) -> None:
    stage.registry.has[ONE] = REQUEST
    stage.registry.is_away = True
    pause = stage.pause

    def back_after_two(seconds: float) -> None:
        pause(seconds)
        stage.registry.is_away = len(stage.paused) < 2

    stage.known._pause = back_after_two
    stage.known.fetch([ONE])
    assert stage.is_known(ONE)
    assert sum(stage.paused) < 1


def test_one_that_stays_away_is_waited_for_once_and_then_nobody_waits(stage: Stage) -> None:
    stage.registry.has[TWO] = REQUEST
    stage.registry.is_away = True
    stage.known.fetch([ONE, TWO])
    assert sum(stage.paused) == pytest.approx(WAIT_S)
    with pytest.raises(SchemaUnavailable, match="connection refused"):
        stage.known.find(ONE)
    stage.paused.clear()
    asked = len(stage.registry.asked)
    for _ in range(1000):
        stage.known.fetch([ONE, TWO])
        stage.clock.advance(0.1)  # 100 seconds
    assert not stage.paused
    assert len(stage.registry.asked) - asked < 8
    stage.registry.is_away = False
    stage.clock.advance(30)
    stage.known.fetch([TWO])
    assert stage.is_known(TWO)
    stage.registry.is_away = True  # a second time: again it is waited for
    stage.known.fetch([ONE])
    assert sum(stage.paused) == pytest.approx(WAIT_S)


def test_slow_refusals_count_in_the_wait_too(stage: Stage) -> None:
    stage.registry.is_away, stage.registry.slow_s = True, 4.0
    before = stage.clock.monotonic_s()
    stage.known.fetch([ONE, TWO])
    assert stage.clock.monotonic_s() - before < WAIT_S + 2 * 4.0


def test_a_name_that_the_registry_does_not_have_is_undecodable_and_asked_for_again_after_a_while(stage: Stage) -> None:
    stage.known.fetch([ONE])
    for _ in range(3):
        stage.known.fetch([ONE])
        with pytest.raises(Undecodable, match="id 1 is not in the registry"):
            stage.known.find(ONE)
    assert stage.registry.asked == [ONE]
    stage.registry.has[ONE] = REQUEST
    stage.clock.advance(31)
    with pytest.raises(SchemaUnavailable):
        stage.known.find(ONE)
    stage.known.fetch([ONE])
    assert stage.is_known(ONE)


@pytest.mark.parametrize(
    ("registered", "reason"),
    [
        (Registered('{"type": "object"}', "JSON"), "is of type JSON, not AVRO"),
        (Registered("nonsense"), "Expecting value"),
        (Registered('"penstock.Tensor"', references=(("tensor", 1),)), "refers to version 1 of tensor"),
    ],
)
def test_a_schema_that_nothing_can_be_read_by_is_undecodable_with_the_reason(
    stage: Stage, registered: Registered, reason: str
) -> None:
    stage.registry.has[ONE] = registered
    stage.known.fetch([ONE])
    with pytest.raises(Undecodable, match=reason):
        stage.known.find(ONE)


def test_a_reference_is_followed_and_a_circle_of_them_is_refused(stage: Stage) -> None:
    stage.registry.subjects["request", 1] = REQUEST
    stage.registry.has[ONE] = Registered('"penstock.PredictRequest"', references=(("request", 1),))
    stage.registry.subjects["circle", 1] = Registered('"a"', references=(("circle", 1),))
    stage.registry.has[TWO] = stage.registry.subjects["circle", 1]
    stage.known.fetch([ONE, TWO])
    assert stage.is_known(ONE)
    with pytest.raises(Undecodable, match="deep"):
        stage.known.find(TWO)


def test_names_that_a_sender_makes_up_do_not_fill_the_memory(stage: Stage) -> None:
    for first in range(0, 25_000, 500):
        stage.known.fetch([confluent.of_id(number) for number in range(first, first + 500)])
    assert len(stage.known._unusable) <= 10_000


def test_a_closed_one_waits_no_more(stage: Stage) -> None:
    stage.registry.is_away = True
    known = KnownSchemas(stage.registry, stage.clock, WAIT_S)
    known.close()
    known.fetch([ONE])
    assert not stage.registry.asked
