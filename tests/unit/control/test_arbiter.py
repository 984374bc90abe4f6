"""Sources among themselves and with people, on a log that lives in memory."""

from __future__ import annotations

from typing import Any

from hypothesis import given, strategies as st
from msgspec.structs import replace

from pipeline.control.arbiter import Arbiter
from pipeline.control.merging import Halt, content_of
from pipeline.records import AspiredVersion, AspiredVersions


def record(*numbers: int, publisher: str = "", digest: str = "", **more: Any) -> AspiredVersions:
    versions = tuple(AspiredVersion(n, f"/{publisher}/{n}", f"sha256:{n}{digest}") for n in numbers)
    return AspiredVersions("m", versions, publisher=publisher, **more)


class Log:
    """The topic, and the sources that follow it; each is told when ``deliver`` says so."""

    def __init__(self, *names: str) -> None:
        self.records: list[AspiredVersions | None] = []
        self.sources = {name: Arbiter() for name in names}
        self.read = dict.fromkeys(names, 0)

    def append(self, record: AspiredVersions | None) -> int:
        self.records.append(record)
        return len(self.records) - 1

    def deliver(self, name: str) -> None:
        for generation in range(self.read[name], len(self.records)):
            self.sources[name].stands("m", self.records[generation], generation)
        self.read[name] = len(self.records)

    def publish(self, name: str) -> None:
        for due in self.sources[name].due():
            self.sources[name].published(due, self.append(replace(due, publisher=name)))

    def settle(self) -> None:
        for _ in range(20):
            before = len(self.records)
            for name in self.sources:
                self.deliver(name)
                self.publish(name)
            if len(self.records) == before and all(source.is_idle() for source in self.sources.values()):
                return
        raise AssertionError(f"they fight: {self.numbers()}")

    def numbers(self) -> list[list[int] | None]:
        return [None if it is None else [version.version for version in it.versions] for it in self.records]


def test_what_is_found_is_published_once() -> None:
    log = Log("a")
    log.sources["a"].found(record(1, publisher="a"))
    log.settle()
    log.sources["a"].found(record(1, publisher="a"))
    log.settle()
    assert log.numbers() == [[1]]


def test_what_is_not_accepted_is_due_again() -> None:
    arbiter = Arbiter()
    arbiter.found(record(1))
    assert len(arbiter.due()) == len(arbiter.due()) == 1
    assert not arbiter.is_idle()


def test_a_find_that_comes_while_another_is_published_is_not_lost() -> None:
    log = Log("a")
    source = log.sources["a"]
    source.found(record(1))
    [due] = source.due()
    source.found(record(2))
    source.published(due, log.append(due))
    log.settle()
    assert log.numbers() == [[1], [2]]


def test_a_pin_holds_what_was_found_back_until_it_is_taken_away_again_and_again() -> None:
    log = Log("a", "b")
    for name in log.sources:
        log.sources[name].found(record(2, publisher=name))
    log.settle()
    for _ in range(3):
        log.append(record(1, publisher="alice", pinned=True))
        log.settle()
        assert log.numbers()[-1] == [1]
        log.append(record(1, publisher="alice"))
        log.settle()
        assert log.numbers()[-1] == [2]


def test_a_stream_that_was_forgotten_is_found_again() -> None:
    log = Log("a")
    log.sources["a"].found(record(1))
    log.settle()
    log.append(None)
    log.settle()
    assert log.numbers() == [[1], None, [1]]


def test_a_label_that_is_moved_stays_where_it_is() -> None:
    log = Log("a")
    log.sources["a"].found(record(2))
    log.settle()
    log.append(record(1, 2, publisher="alice", labels={"stable": 1}))
    log.settle()
    log.sources["a"].found(record(3))
    log.settle()
    assert log.numbers() == [[2], [1, 2], [1, 3]]


def test_two_sources_that_find_other_things_do_not_fight_for_ever() -> None:
    log = Log("a", "b")
    log.sources["a"].found(record(1, publisher="a"))
    log.sources["b"].found(record(2, publisher="b"))
    log.settle()
    assert len(log.records) <= 4


def test_two_sources_that_find_the_same_bytes_in_two_places_do_not_fight() -> None:
    log = Log("a", "b")
    for name in log.sources:
        log.sources[name].found(record(1, publisher=name))
        log.settle()
    assert log.numbers() == [[1], [1]]


def test_a_veto_comes_and_goes_any_number_of_times() -> None:
    log = Log("a")
    source = log.sources["a"]
    source.found(record(2))
    halt = Halt(frozenset({content_of(record(2).versions[0])}), record(1).versions)
    for _ in range(3):
        source.halt({})
        log.settle()
        source.halt({"m": halt})
        log.settle()
    assert log.numbers() == [[2], [1]] * 3


def test_a_pin_that_was_replaced_unseen_is_restored() -> None:
    for is_follower_faster in (False, True):
        log = Log("a")
        source = log.sources["a"]
        source.found(record(1))
        log.settle()
        source.found(record(2))
        [due] = source.due()
        log.append(record(1, publisher="alice", pinned=True))  # just before ours
        generation = log.append(due)
        if is_follower_faster:
            log.deliver("a")
        source.published(due, generation)
        log.settle()
        last = log.records[-1]
        assert last is not None
        assert (last.pinned, [it.version for it in last.versions]) == (True, [1])


def test_a_pin_that_one_source_overwrote_comes_back_although_another_source_went_on_from_there() -> None:
    log = Log("a", "b")
    for source in log.sources.values():
        source.found(record(1, publisher="storage"))
    log.append(record(3, publisher="alice", pinned=True))
    log.publish("b")
    for source in log.sources.values():
        source.found(record(2, publisher="storage"))
    log.deliver("a")
    log.publish("a")
    log.settle()
    last = log.records[-1]
    assert last is not None
    assert (last.pinned, last.versions[0].version) == (True, 3)


STEPS = st.lists(
    st.tuples(
        st.sampled_from("ab"), st.sampled_from(["find", "deliver", "publish", "pin", "unpin", "label", "forget"])
    ),
    max_size=25,
)


@given(STEPS, st.randoms(use_true_random=False))
def test_whatever_happens_in_whatever_order_it_comes_to_rest_and_the_last_pin_holds(
    steps: list[tuple[str, str]], random: Any
) -> None:
    log = Log("a", "b")
    is_pinned = False
    for name, what in steps:
        number = random.randrange(1, 4)
        if what == "find":
            for source in log.sources.values():  # one storage
                source.found(record(number, publisher=name))
        elif what == "deliver":
            log.deliver(name)
        elif what == "publish":
            log.publish(name)
        elif what == "forget":
            log.append(None)
            is_pinned = False
        else:
            labels = {"stable": number} if what == "label" else {}
            log.append(record(number, publisher="alice", labels=labels, pinned=what == "pin"))
            is_pinned = what == "pin"
    log.settle()
    last = log.records[-1] if log.records else None
    if is_pinned:
        assert last is not None
        assert last.pinned
        assert last.publisher in ("alice", "a", "b")
