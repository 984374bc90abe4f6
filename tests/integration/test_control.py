"""The control topics on a real Kafka."""

from __future__ import annotations

import logging
import threading
import time
from typing import TYPE_CHECKING, Any

import pytest
from confluent_kafka import Producer
from msgspec.structs import replace

from pipeline.clock import SystemClock
from pipeline.control.aspired import AspiredFollower, AspiredPublisher
from pipeline.control.fleet import FleetFollower, read_fleet
from pipeline.control.heartbeat import Heartbeat
from pipeline.control.kafka_log_reader import KafkaLogReader
from pipeline.control.kafka_logs import KafkaLogs
from pipeline.control.logs import Logs, read_all
from pipeline.control.recovery import Recovery
from pipeline.control.source_publisher import SourcePublisher
from pipeline.control.states import StatePublisher
from pipeline.control.topic_admin import check_topics, create_missing, describe, inspect
from pipeline.control.topics import TopicSpec, wanted
from pipeline.errors import ConnectorError
from pipeline.local.kafka import LocalKafka
from pipeline.records import AspiredVersion, AspiredVersions, Error, ServableState, State, StreamState, WorkerState
from pipeline.settings import ControlSettings, RouteSettings, Settings, StreamSettings, WatchSettings

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

DEADLINE_S = 15.0


def compacted(name: str, partitions: int = 1) -> TopicSpec:
    return TopicSpec(name, partitions, {"cleanup.policy": "compact"}, "test")


def until(claim: Callable[[], Any], what: str) -> None:
    deadline = time.monotonic() + DEADLINE_S
    while not claim():
        assert time.monotonic() < deadline, f"not within {DEADLINE_S:g} s: {what}"
        time.sleep(0.01)


def aspired(stream: str, *versions: int) -> AspiredVersions:
    return AspiredVersions(stream, tuple(AspiredVersion(n, f"/m/{stream}/{n}", f"sha256:{n}") for n in versions))


class Followed:
    """A follower, and what it was called with."""

    def __init__(self, kafka: dict[str, Any], topic: str) -> None:
        self.aspired: list[tuple[AspiredVersions, int]] = []
        self.forgotten: list[tuple[str, int]] = []
        self.fatal: list[Exception] = []
        self.follower = AspiredFollower(
            kafka,
            topic,
            "w-1",
            on_aspired=lambda item, generation: self.aspired.append((item, generation)),
            on_forgotten=lambda stream, generation: self.forgotten.append((stream, generation)),
            on_fatal=self.fatal.append,
        )


@pytest.fixture
def properties(kafka: Any) -> dict[str, Any]:
    return {"bootstrap.servers": kafka.bootstrap}


@pytest.fixture
def topic(properties: dict[str, Any], topic_name: str) -> str:
    create_missing(properties, [compacted(topic_name)])
    return topic_name


@pytest.fixture
def publisher(properties: dict[str, Any], topic: str) -> Iterator[AspiredPublisher]:
    publisher = AspiredPublisher(properties, topic, "watcher-1")
    yield publisher
    publisher.close()


@pytest.fixture
def followed(properties: dict[str, Any], topic: str) -> Iterator[Followed]:
    followed = Followed(properties, topic)
    yield followed
    followed.follower.stop()


def test_a_follower_sees_what_was_published_before_it_started_and_what_comes_later(
    publisher: AspiredPublisher, followed: Followed
) -> None:
    first = publisher.publish(aspired("digits", 1))
    followed.follower.start()
    assert followed.follower.caught_up.wait(DEADLINE_S)
    assert [(item.versions, generation) for item, generation in followed.aspired] == [
        (aspired("digits", 1).versions, first)
    ]
    assert followed.aspired[0][0].publisher == "watcher-1"
    second = publisher.publish(aspired("digits", 1, 2))
    third = publisher.forget("digits")
    until(lambda: followed.forgotten, "the tombstone")
    assert [generation for _, generation in followed.aspired] == [first, second]
    assert followed.forgotten == [("digits", third)]
    assert not followed.fatal


def test_a_follower_of_an_empty_topic_is_caught_up(followed: Followed) -> None:
    followed.follower.start()
    assert followed.follower.caught_up.wait(DEADLINE_S)
    assert not followed.aspired


def test_a_change_arrives_within_two_seconds_of_being_accepted(publisher: AspiredPublisher, followed: Followed) -> None:
    followed.follower.start()
    assert followed.follower.caught_up.wait(DEADLINE_S)
    publisher.publish(aspired("digits", 1))
    accepted = time.monotonic()
    until(lambda: followed.aspired, "the aspiration")
    assert time.monotonic() - accepted < 2.0


def test_what_was_superseded_before_the_start_is_never_told(publisher: AspiredPublisher, followed: Followed) -> None:
    for version in (1, 2, 3):
        publisher.publish(aspired("digits", version))
    publisher.publish(aspired("letters", 1))
    publisher.forget("letters")
    followed.follower.start()
    assert followed.follower.caught_up.wait(DEADLINE_S)
    assert [item.versions[0].version for item, _ in followed.aspired] == [3]
    assert [stream for stream, _ in followed.forgotten] == ["letters"]


def test_a_record_that_can_not_be_decoded_is_skipped_and_named_with_its_place(
    properties: dict[str, Any], topic: str, publisher: AspiredPublisher, followed: Followed, caplog: Any
) -> None:
    publisher.publish(aspired("digits", 1))
    producer = Producer(properties)
    producer.produce(topic, b"not avro", b"digits")
    producer.flush()
    with caplog.at_level(logging.ERROR, "pipeline.control"):
        followed.follower.start()
        assert followed.follower.caught_up.wait(DEADLINE_S)
    assert [item.versions[0].version for item, _ in followed.aspired] == [1]
    assert f"{topic}[0]@1" in caplog.text


def test_a_topic_that_is_missing_is_waited_for_and_logged_once(
    properties: dict[str, Any], topic_name: str, caplog: Any
) -> None:
    followed = Followed(properties, topic_name)
    with caplog.at_level(logging.WARNING, "pipeline.control"):
        followed.follower.start()
        until(lambda: followed.follower.problem, "the missing topic is noticed")
        assert not followed.follower.caught_up.wait(1.5)
        assert [record.message.count("penstock topics --create") for record in caplog.records] == [1]
        create_missing(properties, [compacted(topic_name)])
        assert followed.follower.caught_up.wait(DEADLINE_S)
    assert followed.follower.problem is None
    followed.follower.stop()


def test_partitions_that_are_added_while_it_runs_are_read(
    properties: dict[str, Any], topic: str, monkeypatch: Any
) -> None:
    from confluent_kafka.admin import AdminClient, NewPartitions

    monkeypatch.setattr("pipeline.control.kafka_log_reader._REDISCOVER_S", 0.2)
    seen: list[tuple[bytes | None, int]] = []
    reader = KafkaLogReader(
        properties, topic, "r", on_record=lambda key, _value, part, _offset: seen.append((key, part)), on_fatal=print
    )
    reader.start()
    assert reader.caught_up.wait(DEADLINE_S)
    admin = AdminClient(properties)
    for future in admin.create_partitions([NewPartitions(topic, 2)]).values():
        future.result()
    producer = Producer(properties)
    producer.produce(topic, b"v", b"k", partition=1)
    producer.flush()
    until(lambda: (b"k", 1) in seen, "the record of the new partition")
    reader.stop()


def test_aborted_records_and_their_markers_do_not_hold_the_reader_up(properties: dict[str, Any], topic: str) -> None:
    producer = Producer({**properties, "transactional.id": topic})
    producer.init_transactions()
    for value, end in ((b"kept", producer.commit_transaction), (b"dropped", producer.abort_transaction)):
        producer.begin_transaction()
        producer.produce(topic, value, b"k")
        producer.flush()
        end()
    assert read_all(properties, topic) == {b"k": b"kept"}


def test_read_all_returns_the_last_value_of_each_key_that_is_left(properties: dict[str, Any], topic: str) -> None:
    producer = Producer(properties)
    for key, value in ((b"a", b"1"), (b"b", b"1"), (b"a", b"2"), (b"b", None), (b"c", b"1")):
        producer.produce(topic, value, key)
    producer.flush()
    assert read_all(properties, topic) == {b"a": b"2", b"c": b"1"}


def test_read_all_of_a_missing_topic_says_what_to_do(properties: dict[str, Any], topic_name: str) -> None:
    with pytest.raises(ConnectorError, match="penstock topics --create"):
        read_all(properties, topic_name, timeout_s=1.0)


def test_publishing_to_a_missing_topic_says_what_to_do_and_creates_nothing(
    properties: dict[str, Any], topic_name: str
) -> None:
    publisher = AspiredPublisher(properties, topic_name, "watcher-1")
    with pytest.raises(ConnectorError, match="penstock topics --create"):
        publisher.publish(aspired("digits", 1))
    publisher.close()
    assert describe(properties, [topic_name]) == {}


@pytest.mark.slow
def test_publishing_to_nobody_fails_in_time_and_works_when_somebody_is_there() -> None:
    with LocalKafka() as kafka:
        properties = {"bootstrap.servers": kafka.bootstrap}
        create_missing(properties, [compacted("aspired")])
        publisher = AspiredPublisher(properties, "aspired", "watcher-1")
        assert publisher.publish(aspired("digits", 1)) == 0
        followed = Followed(properties, "aspired")
        followed.follower.start()
        until(lambda: followed.aspired, "the first aspiration")
        kafka.kill()
        began = time.monotonic()
        with pytest.raises(ConnectorError, match="within 1 s"):
            publisher.publish(aspired("digits", 2), timeout_s=1.0)
        assert time.monotonic() - began < 3.0
        until(lambda: followed.follower.problem, "the outage is noticed")
        kafka.start()
        publisher.publish(aspired("digits", 3), timeout_s=10.0)
        until(lambda: len(followed.aspired) > 1, "the aspiration after the outage")
        # what was given up did not arrive late
        assert [item.versions[0].version for item, _ in followed.aspired] == [1, 3]
        until(lambda: followed.follower.problem is None, "the end of the outage is noticed")
        assert not followed.fatal
        kafka.kill()
        began = time.monotonic()
        followed.follower.stop()
        assert time.monotonic() - began < 5.0
        publisher.close()


def test_what_a_callback_raises_reaches_on_fatal_and_ends_the_reader(
    properties: dict[str, Any], topic: str, publisher: AspiredPublisher
) -> None:
    publisher.publish(aspired("digits", 1))
    happened = threading.Event()
    errors: list[Exception] = []

    def on_aspired(_item: AspiredVersions, _generation: int) -> None:
        raise RuntimeError("broken")

    def on_fatal(error: Exception) -> None:
        errors.append(error)
        happened.set()

    follower = AspiredFollower(
        properties, topic, "w", on_aspired=on_aspired, on_forgotten=lambda *_: None, on_fatal=on_fatal
    )
    follower.start()
    assert happened.wait(DEADLINE_S)
    assert [str(error) for error in errors] == ["broken"]
    follower.stop()


def test_states_are_read_back_as_they_were_last_published(properties: dict[str, Any], topic: str) -> None:
    publisher = StatePublisher(properties, topic, "w-1", SystemClock())
    publisher.recovered([])
    publisher(ServableState("", "digits", 1, State.LOADING))
    publisher(ServableState("", "digits", 1, State.AVAILABLE, generation=7, load_ms=12, kind="lookup"))
    publisher(ServableState("", "digits", 2, State.END, Error("load_failed", "broken", retriable=False)))
    assert publisher.flush(DEADLINE_S)
    states = read_fleet(properties, topic).states
    assert [(s.worker, s.stream, s.version, s.state) for s in states] == [
        ("w-1", "digits", 1, State.AVAILABLE),
        ("w-1", "digits", 2, State.END),
    ]
    assert (states[0].generation, states[0].load_ms, states[0].kind) == (7, 12, "lookup")
    assert states[0].at_ms > 0
    assert states[1].error == Error("load_failed", "broken", retriable=False)


def raw(properties: dict[str, Any], topic: str) -> list[tuple[bytes | None, bytes | None]]:
    seen: list[tuple[bytes | None, bytes | None]] = []
    reader = KafkaLogReader(
        properties, topic, "r", on_record=lambda key, value, *_: seen.append((key, value)), on_fatal=print
    )
    while not reader.caught_up.is_set():
        reader.step()
    reader.close()
    return seen


def test_a_worker_that_comes_back_ends_its_earlier_life_before_it_says_anything_else(
    properties: dict[str, Any], topic: str
) -> None:
    first = StatePublisher(properties, topic, "w-1", SystemClock())
    first.recovered([])
    first(ServableState("", "digits", 1, State.AVAILABLE, load_ms=1))
    first(ServableState("", "digits", 2, State.LOADING))
    assert first.flush(DEADLINE_S)  # and then it was killed

    second = StatePublisher(properties, topic, "w-1", SystemClock())
    second(ServableState("", "digits", 1, State.START))  # before anything is known of the earlier life
    recovery = Recovery(properties, topic, "w-1", second.recovered)
    recovery.start()
    recovery.finish(DEADLINE_S)
    assert second.flush(DEADLINE_S)
    states = read_fleet(properties, topic).states
    assert [(s.version, s.incarnation, s.state) for s in states] == [(1, 2, State.START), (2, 1, State.END)]
    assert states[1].error is not None
    assert states[1].error.code == "worker_lost"
    history = [(key, value is None) for key, value in raw(properties, topic)]
    assert history[2:] == [
        (b"w-1/digits/1/1", False),  # END
        (b"w-1/digits/2/1", False),  # END
        (b"w-1/digits/1/2", False),  # START of the new life
        (b"w-1/digits/1/1", True),  # and with it the old row goes
    ]


def test_a_worker_lives_in_the_topic_until_it_leaves(properties: dict[str, Any], topic: str) -> None:
    publisher = StatePublisher(properties, topic, "w-1", SystemClock())
    look = {"digits": StreamState("digits", -1)}
    heartbeat = Heartbeat("w-1", lambda name: look[name], publisher.beat, SystemClock(), 0.3)
    failures: list[Exception] = []
    follower = FleetFollower(properties, topic, "reader", failures.append)
    follower.start()
    heartbeat.touch("digits")
    heartbeat.start()
    publisher.recovered([])

    def signs() -> list[WorkerState]:
        return list(follower.fleet().workers)

    until(signs, "the first sign of life")
    before = signs()[0].at_ms
    until(lambda: signs()[0].at_ms > before, "the next sign of life")
    look["digits"] = StreamState("digits", 3, is_settled=True, available=(1,))
    heartbeat.touch("digits")
    until(lambda: signs()[0].streams == (look["digits"],), "what has changed")
    heartbeat.stop()
    publisher.leave()
    assert publisher.flush(DEADLINE_S)
    until(lambda: not signs(), "the worker is gone")
    follower.stop()
    assert not failures


class Sourcing:
    """A source's publisher on a topic of its own, and what it had accepted."""

    def __init__(self, properties: dict[str, Any], aspired_topic: str, states_topic: str = "unused") -> None:
        self.failures: list[Exception] = []
        self.accepted: list[AspiredVersions] = []
        settings = Settings(
            kafka=properties,
            control=ControlSettings(aspired_topic=aspired_topic, states_topic=states_topic),
            watch=WatchSettings(halt_on_failure=states_topic != "unused"),
        )
        self.publish = SourcePublisher(
            settings,
            "watch",
            on_fatal=self.failures.append,
            on_published=lambda record, _: self.accepted.append(record),
        )

    def numbers(self) -> list[list[int]]:
        return [[version.version for version in record.versions] for record in self.accepted]


@pytest.fixture
def sourcing(properties: dict[str, Any], topic: str) -> Iterator[Sourcing]:
    sourcing = Sourcing(properties, topic)
    yield sourcing
    sourcing.publish.stop()
    assert not sourcing.failures


def test_a_source_leaves_a_pinned_stream_alone_and_catches_up_when_it_is_unpinned(
    sourcing: Sourcing, publisher: AspiredPublisher, caplog: Any
) -> None:
    publisher.publish(replace(aspired("digits", 1), pinned=True))
    sourcing.publish(aspired("digits", 2))
    sourcing.publish.start()
    sourcing.publish.finish(DEADLINE_S)
    assert sourcing.accepted == []
    assert "pinned by watcher-1" in caplog.text
    publisher.publish(aspired("digits", 1))
    until(lambda: sourcing.numbers() == [[2]], "what was found is published")


def test_two_sources_that_find_the_same_publish_it_once(
    properties: dict[str, Any], topic: str, sourcing: Sourcing
) -> None:
    sourcing.publish(aspired("digits", 2))
    sourcing.publish.start()
    sourcing.publish.finish(DEADLINE_S)
    other = Sourcing(properties, topic)
    other.publish(aspired("digits", 2))
    other.publish.start()
    other.publish.finish(DEADLINE_S)
    other.publish.stop()
    assert (sourcing.numbers(), other.numbers()) == ([[2]], [])


def test_a_version_that_fails_on_one_worker_is_taken_out_and_what_served_before_comes_back(
    properties: dict[str, Any], topic: str, caplog: Any
) -> None:
    states = f"{topic}.states"
    create_missing(properties, [compacted(states)])
    worker = StatePublisher(properties, states, "w-1", SystemClock())
    worker.recovered([])
    digests = {number: f"sha256:{number}" for number in (1, 2)}
    worker(ServableState("", "m", 1, State.AVAILABLE, generation=0, path="/m/m/1", digest=digests[1], load_ms=1))
    sourcing = Sourcing(properties, topic, states)
    sourcing.publish.start()
    sourcing.publish(aspired("m", 2))
    until(lambda: sourcing.numbers() == [[2]], "version 2 is aspired")
    failure = Error("load_failed", "broken", retriable=False)
    worker(ServableState("", "m", 2, State.END, failure, generation=0, path="/m/m/2", digest=digests[2]))
    until(lambda: sourcing.numbers() == [[2], [1]], "version 1 comes back")
    assert "m/2 failed on w-1: load_failed: broken" in caplog.text
    sourcing.publish.stop()
    again = Sourcing(properties, topic, states)  # it remembers nothing but what the topics hold
    again.publish.start()
    again.publish(aspired("m", 2))
    again.publish.finish(DEADLINE_S)
    again.publish.stop()
    assert again.accepted == []
    assert not sourcing.failures + again.failures


def test_states_that_can_not_be_published_are_logged_and_no_more(caplog: Any) -> None:
    publisher = StatePublisher({"bootstrap.servers": "127.0.0.1:1"}, "states", "w-1", SystemClock())
    publisher(ServableState("", "digits", 1, State.LOADING))
    assert not publisher.flush(0.2)
    assert "1 states were not published" in caplog.text


def test_topics_are_created_as_wanted_and_once(properties: dict[str, Any], topic_name: str) -> None:
    settings = Settings(
        kafka=properties,
        control=ControlSettings(aspired_topic=f"{topic_name}.aspired", states_topic=f"{topic_name}.states"),
        servables={"digits": StreamSettings(base_path="/m")},
        routes={
            "digits": RouteSettings(
                servable="digits",
                request_topic=f"{topic_name}.requests",
                result_topic=f"{topic_name}.results",
                dead_letter_topic=f"{topic_name}.requests-dlt",
                max_result_bytes=3_000_000,
            )
        },
    )
    specs = wanted(settings)
    assert {finding.reason for finding in check_topics(settings)} == {"does not exist"}
    assert sorted(create_missing(properties, specs, partitions=3)) == sorted(spec.name for spec in specs)
    assert create_missing(properties, specs, partitions=3) == []
    assert check_topics(settings) == []
    partitions = {
        r.spec.name.removeprefix(topic_name): r.described and r.described.partitions for r in inspect(settings)
    }
    assert partitions == {".requests": 3, ".results": 3, ".requests-dlt": 3, ".aspired": 1, ".states": 1}


def test_a_control_topic_that_is_not_compacted_is_a_problem_with_its_remedy(
    properties: dict[str, Any], topic_name: str
) -> None:
    create_missing(properties, [TopicSpec(topic_name, 1, {"cleanup.policy": "delete"}, "test")])
    control = ControlSettings(aspired_topic=topic_name, states_topic=f"{topic_name}.states")
    (finding, _) = check_topics(Settings(kafka=properties, control=control))
    assert (finding.is_problem, finding.is_dangerous) == (True, True)
    assert "cleanup.policy" in finding.reason
    assert finding.fix == {"cleanup.policy": "compact"}


def test_a_broker_that_is_away_is_named_with_its_address() -> None:
    with pytest.raises(ConnectorError, match=r"127\.0\.0\.1:1"):
        describe({"bootstrap.servers": "127.0.0.1:1"}, ["t"], timeout_s=0.5)
