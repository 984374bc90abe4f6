"""The control logs on a real Kafka and on a real Redis: the same claims."""

from __future__ import annotations

import logging
import threading
import time
from typing import TYPE_CHECKING, Any

import pytest
from msgspec.structs import replace

from pipeline.clock import SystemClock
from pipeline.control.aspired import AspiredFollower, AspiredPublisher
from pipeline.control.fleet import FleetFollower, read_fleet
from pipeline.control.heartbeat import Heartbeat
from pipeline.control.logs import Logs, read_all
from pipeline.control.recovery import Recovery
from pipeline.control.source_publisher import SourcePublisher
from pipeline.control.states import StatePublisher
from pipeline.errors import ConnectorError
from pipeline.records import AspiredVersion, AspiredVersions, Error, ServableState, State, StreamState, WorkerState
from pipeline.settings import ControlSettings, WatchSettings
from tests.integration.control_places import BROKERS, DEADLINE_S, Place, address_of, local
from tests.waiting import wait_for

if TYPE_CHECKING:
    from collections.abc import Iterator


def aspired(stream: str, *versions: int) -> AspiredVersions:
    return AspiredVersions(stream, tuple(AspiredVersion(n, f"/m/{stream}/{n}", f"sha256:{n}") for n in versions))


class Followed:
    """A follower, and what it was called with."""

    def __init__(self, logs: Logs, topic: str) -> None:
        self.aspired: list[tuple[AspiredVersions, int]] = []
        self.forgotten: list[tuple[str, int]] = []
        self.fatal: list[Exception] = []
        self.follower = AspiredFollower(
            logs,
            topic,
            "w-1",
            on_aspired=lambda item, generation: self.aspired.append((item, generation)),
            on_forgotten=lambda stream, generation: self.forgotten.append((stream, generation)),
            on_fatal=self.fatal.append,
        )


@pytest.fixture(params=BROKERS)
def place(request: pytest.FixtureRequest) -> Place:
    running = request.getfixturevalue(request.param)
    return Place(request.param, running.url if request.param == "redis" else running.bootstrap)


@pytest.fixture
def topic(place: Place, topic_name: str) -> str:
    return place.make(topic_name)


@pytest.fixture
def publisher(place: Place, topic: str) -> Iterator[AspiredPublisher]:
    publisher = AspiredPublisher(place.logs, topic, "watcher-1")
    yield publisher
    publisher.close()


@pytest.fixture
def followed(place: Place, topic: str) -> Iterator[Followed]:
    followed = Followed(place.logs, topic)
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
    wait_for("the tombstone", lambda: followed.forgotten)
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
    wait_for("the aspiration", lambda: followed.aspired)
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
    place: Place, topic: str, publisher: AspiredPublisher, followed: Followed, caplog: Any
) -> None:
    publisher.publish(aspired("digits", 1))
    place.logs.writer(topic, "somebody").write(b"digits", b"not avro", DEADLINE_S)
    with caplog.at_level(logging.ERROR, "pipeline.control"):
        followed.follower.start()
        assert followed.follower.caught_up.wait(DEADLINE_S)
    assert [item.versions[0].version for item, _ in followed.aspired] == [1]
    assert f"{topic}[0]@1" in caplog.text


def test_read_all_returns_the_last_value_of_each_key_that_is_left(place: Place, topic: str) -> None:
    writer = place.logs.writer(topic, "somebody")
    written = ((b"a", b"1"), (b"b", b"1"), (b"a", b"2"), (b"b", None), (b"c", b"1"))
    assert [writer.write(key, value, DEADLINE_S) for key, value in written] == [0, 1, 2, 3, 4]
    writer.close(5)
    assert read_all(place.logs, topic) == {b"a": b"2", b"c": b"1"}


@pytest.mark.slow
@pytest.mark.parametrize("broker", BROKERS)
def test_publishing_to_nobody_fails_in_time_and_works_when_somebody_is_there(broker: str) -> None:
    with local(broker) as server:
        place = Place(broker, address_of(server))
        place.make("aspired")
        publisher = AspiredPublisher(place.logs, "aspired", "watcher-1")
        assert publisher.publish(aspired("digits", 1)) == 0
        followed = Followed(place.logs, "aspired")
        followed.follower.start()
        wait_for("the first aspiration", lambda: followed.aspired)
        server.kill()
        began = time.monotonic()
        with pytest.raises(ConnectorError, match="within 1 s"):
            publisher.publish(aspired("digits", 2), timeout_s=1.0)
        assert time.monotonic() - began < 3.0
        wait_for("the outage is noticed", lambda: followed.follower.problem)
        server.start()
        publisher.publish(aspired("digits", 3), timeout_s=10.0)
        wait_for("the aspiration after the outage", lambda: len(followed.aspired) > 1)
        # what was given up did not arrive late
        assert [item.versions[0].version for item, _ in followed.aspired] == [1, 3]
        wait_for("the end of the outage is noticed", lambda: followed.follower.problem is None)
        assert not followed.fatal
        server.kill()
        began = time.monotonic()
        followed.follower.stop()
        assert time.monotonic() - began < 5.0
        publisher.close()


def test_what_a_callback_raises_reaches_on_fatal_and_ends_the_reader(
    place: Place, topic: str, publisher: AspiredPublisher
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
        place.logs, topic, "w", on_aspired=on_aspired, on_forgotten=lambda *_: None, on_fatal=on_fatal
    )
    follower.start()
    assert happened.wait(DEADLINE_S)
    assert [str(error) for error in errors] == ["broken"]
    follower.stop()


def test_states_are_read_back_as_they_were_last_published(place: Place, topic: str) -> None:
    publisher = StatePublisher(place.logs, topic, "w-1", SystemClock())
    publisher.recovered([])
    publisher(ServableState("", "digits", 1, State.LOADING))
    publisher(ServableState("", "digits", 1, State.AVAILABLE, generation=7, load_ms=12, kind="lookup"))
    publisher(ServableState("", "digits", 2, State.END, Error("load_failed", "broken", retriable=False)))
    assert publisher.flush(DEADLINE_S)
    states = read_fleet(place.logs, topic).states
    assert [(s.worker, s.stream, s.version, s.state) for s in states] == [
        ("w-1", "digits", 1, State.AVAILABLE),
        ("w-1", "digits", 2, State.END),
    ]
    assert (states[0].generation, states[0].load_ms, states[0].kind) == (7, 12, "lookup")
    assert states[0].at_ms > 0
    assert states[1].error == Error("load_failed", "broken", retriable=False)


def raw(place: Place, topic: str) -> list[tuple[bytes | None, bytes | None]]:
    seen: list[tuple[bytes | None, bytes | None]] = []
    reader = place.logs.reader(topic, "r", on_record=lambda key, value, *_: seen.append((key, value)), on_fatal=print)
    while not reader.caught_up.is_set():
        reader.step()
    reader.close()
    return seen


def test_a_worker_that_comes_back_ends_its_earlier_life_before_it_says_anything_else(place: Place, topic: str) -> None:
    first = StatePublisher(place.logs, topic, "w-1", SystemClock())
    first.recovered([])
    first(ServableState("", "digits", 1, State.AVAILABLE, load_ms=1))
    first(ServableState("", "digits", 2, State.LOADING))
    assert first.flush(DEADLINE_S)  # and then it was killed

    second = StatePublisher(place.logs, topic, "w-1", SystemClock())
    second(ServableState("", "digits", 1, State.START))  # before anything is known of the earlier life
    recovery = Recovery(place.logs, topic, "w-1", second.recovered)
    recovery.start()
    recovery.finish(DEADLINE_S)
    assert second.flush(DEADLINE_S)
    states = read_fleet(place.logs, topic).states
    assert [(s.version, s.incarnation, s.state) for s in states] == [(1, 2, State.START), (2, 1, State.END)]
    assert states[1].error is not None
    assert states[1].error.code == "worker_lost"
    history = [(key, value is None) for key, value in raw(place, topic)]
    told = [
        (b"w-1/digits/1/1", False),  # END
        (b"w-1/digits/2/1", False),  # END
        (b"w-1/digits/1/2", False),  # START of the new life
        (b"w-1/digits/1/1", True),  # and with it the old row goes
    ]
    # Redis keeps the last of each key only.
    assert history == told[1:] if place.broker == "redis" else history[2:] == told


def test_a_worker_lives_in_the_topic_until_it_leaves(place: Place, topic: str) -> None:
    publisher = StatePublisher(place.logs, topic, "w-1", SystemClock())
    look = {"digits": StreamState("digits", -1)}
    heartbeat = Heartbeat("w-1", lambda name: look[name], publisher.beat, SystemClock(), 0.3)
    failures: list[Exception] = []
    follower = FleetFollower(place.logs, topic, "reader", failures.append)
    follower.start()
    heartbeat.touch("digits")
    heartbeat.start()
    publisher.recovered([])

    def signs() -> list[WorkerState]:
        return list(follower.fleet().workers)

    wait_for("the first sign of life", signs)
    before = signs()[0].at_ms
    wait_for("the next sign of life", lambda: signs()[0].at_ms > before)
    look["digits"] = StreamState("digits", 3, is_settled=True, available=(1,))
    heartbeat.touch("digits")
    wait_for("what has changed", lambda: signs()[0].streams == (look["digits"],))
    heartbeat.stop()
    publisher.leave()
    assert publisher.flush(DEADLINE_S)
    wait_for("the worker is gone", lambda: not signs())
    follower.stop()
    assert not failures


class Sourcing:
    """A source's publisher on a topic of its own, and what it had accepted."""

    def __init__(self, place: Place, aspired_topic: str, states_topic: str = "unused") -> None:
        self.failures: list[Exception] = []
        self.accepted: list[AspiredVersions] = []
        control = ControlSettings(connector=place.broker, aspired_topic=aspired_topic, states_topic=states_topic)
        settings = replace(
            place.settings,
            control=control,
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
def sourcing(place: Place, topic: str) -> Iterator[Sourcing]:
    sourcing = Sourcing(place, topic)
    yield sourcing
    sourcing.publish.stop()
    assert not sourcing.failures


def test_a_stream_whose_aspiration_is_too_large_keeps_no_other(sourcing: Sourcing, monkeypatch: Any) -> None:
    """Nor when all have been refused before, because the broker was away."""
    many = replace(aspired("a"), versions=tuple(AspiredVersion(n, "/m/" + "p" * 100, "s" * 64) for n in range(12_000)))
    publish, refused = AspiredPublisher.publish, set()

    def away_at_first(self: AspiredPublisher, record: AspiredVersions) -> int:
        if len(refused) < 3:
            refused.add(record.stream)
            raise ConnectorError("the broker", "it is away")
        return publish(self, record)

    monkeypatch.setattr(AspiredPublisher, "publish", away_at_first)
    for stream in (many, aspired("b", 1), aspired("c", 1)):
        sourcing.publish(stream)
    sourcing.publish.start()
    wait_for("the others", lambda: {"b", "c"} <= {record.stream for record in sourcing.accepted})


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
    wait_for("what was found is published", lambda: sourcing.numbers() == [[2]])


def test_two_sources_that_find_the_same_publish_it_once(place: Place, topic: str, sourcing: Sourcing) -> None:
    sourcing.publish(aspired("digits", 2))
    sourcing.publish.start()
    sourcing.publish.finish(DEADLINE_S)
    other = Sourcing(place, topic)
    other.publish(aspired("digits", 2))
    other.publish.start()
    other.publish.finish(DEADLINE_S)
    other.publish.stop()
    assert (sourcing.numbers(), other.numbers()) == ([[2]], [])


def test_a_version_that_fails_on_one_worker_is_taken_out_and_what_served_before_comes_back(
    place: Place, topic: str, caplog: Any
) -> None:
    states = f"{topic}.states"
    place.make(states)
    worker = StatePublisher(place.logs, states, "w-1", SystemClock())
    worker.recovered([])
    digests = {number: f"sha256:{number}" for number in (1, 2)}
    worker(ServableState("", "m", 1, State.AVAILABLE, generation=0, path="/m/m/1", digest=digests[1], load_ms=1))
    sourcing = Sourcing(place, topic, states)
    sourcing.publish.start()
    sourcing.publish(aspired("m", 2))
    wait_for("version 2 is aspired", lambda: sourcing.numbers() == [[2]])
    failure = Error("load_failed", "broken", retriable=False)
    worker(ServableState("", "m", 2, State.END, failure, generation=0, path="/m/m/2", digest=digests[2]))
    wait_for("version 1 comes back", lambda: sourcing.numbers() == [[2], [1]])
    assert "m/2 failed on w-1: load_failed: broken" in caplog.text
    sourcing.publish.stop()
    again = Sourcing(place, topic, states)  # it remembers nothing but what the topics hold
    again.publish.start()
    again.publish(aspired("m", 2))
    again.publish.finish(DEADLINE_S)
    again.publish.stop()
    assert again.accepted == []
    assert not sourcing.failures + again.failures


@pytest.mark.parametrize(("broker", "address"), [("kafka", "127.0.0.1:1"), ("redis", "redis://127.0.0.1:1")])
def test_states_that_can_not_be_published_are_logged_and_no_more(broker: str, address: str, caplog: Any) -> None:
    publisher = StatePublisher(Place(broker, address).logs, "states", "w-1", SystemClock())
    publisher(ServableState("", "digits", 1, State.LOADING))
    assert not publisher.flush(0.2)
    publisher.close()
    assert "1 states were not published" in caplog.text


def test_two_writers_at_once_have_generations_of_their_own_and_the_last_one_stands(place: Place, topic: str) -> None:
    writers = [place.logs.writer(topic, f"w-{n}") for n in range(2)]
    written: list[list[tuple[int, bytes]]] = [[], []]

    def write(n: int) -> None:
        for number in range(50):
            value = b"%d of %d" % (number, n)
            written[n].append((writers[n].write(b"k", value, DEADLINE_S), value))

    threads = [threading.Thread(target=write, args=(n,)) for n in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for writer in writers:
        writer.close(5)
    everything = dict(written[0] + written[1])
    assert len(everything) == 100
    assert read_all(place.logs, topic) == {b"k": everything[max(everything)]}
    for one in written:
        assert one == sorted(one)


def test_every_record_that_comes_while_it_follows_is_told_in_order(place: Place, topic: str) -> None:
    """Also those that were superseded at once: who merges what stands must not overlook what a person said."""
    seen: list[tuple[bytes | None, int]] = []
    reader = place.logs.reader(
        topic, "r", on_record=lambda _key, value, _partition, offset: seen.append((value, offset)), on_fatal=print
    )
    reader.start()
    assert reader.caught_up.wait(DEADLINE_S)
    writer = place.logs.writer(topic, "w")
    generations = [writer.write(b"k", b"%d" % number, DEADLINE_S) for number in range(100)]
    wait_for("all of them", lambda: len(seen) == 100)
    reader.stop()
    writer.close(5)
    assert seen == [(b"%d" % number, generation) for number, generation in enumerate(generations)]


@pytest.mark.slow
@pytest.mark.parametrize("broker", BROKERS)
def test_states_that_were_said_while_the_broker_was_away_are_written_when_it_is_back(broker: str) -> None:
    with local(broker) as server:
        place = Place(broker, address_of(server))
        place.make("states")
        publisher = StatePublisher(place.logs, "states", "w-1", SystemClock())
        publisher.recovered([])
        publisher(ServableState("", "digits", 1, State.LOADING))
        assert publisher.flush(DEADLINE_S)
        server.kill()
        publisher(ServableState("", "digits", 1, State.AVAILABLE))
        publisher(ServableState("", "digits", 2, State.START))
        assert not publisher.flush(0.5)
        server.start()
        assert publisher.flush(30)
        publisher.close()
        states = read_fleet(place.logs, "states", timeout_s=30).states
        assert [(s.version, s.state) for s in states] == [(1, State.AVAILABLE), (2, State.START)]
