"""The SQLite connector keeps the contract of every connector, and its own."""

from __future__ import annotations

import contextlib
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from sqlite_connector import SqliteConnector, SqliteOptions
from sqlite_tables import connect, create, headers_to_text

from pipeline.connector import Answer, Connector, Record
from pipeline.errors import ConnectorError, InvalidSettings, PenstockError, ResultTooLarge
from pipeline.records import Error
from pipeline.settings import RouteSettings, Settings
from pipeline.testing.connector_contract import BrokerUnderTest, ConnectorContract, echo, never, poll_some
from pipeline.testing.fakes import FakeClock

ROUTE = RouteSettings(request_topic="m.requests", result_topic="m.results", dead_letter_topic="m.letters")


class SqliteUnderTest:
    """A file, seen as a client sees it."""

    def __init__(self, path: Path, route: RouteSettings = ROUTE) -> None:
        """The tables are made at once, so that a test may begin with a request."""
        self.path, self.route = path, route
        with contextlib.closing(connect(str(path))) as db:
            create(db)

    def connector(self, **more: Any) -> SqliteConnector:
        """See BrokerUnderTest."""
        return SqliteConnector(self.route, SqliteOptions(path=str(self.path)), "test", **more)

    def produce(self, values: Sequence[bytes], key: bytes | None = b"key") -> None:
        """See BrokerUnderTest."""
        with contextlib.closing(connect(str(self.path))) as db:
            rows = [(self.route.request_topic, key, value) for value in values]
            db.executemany("INSERT INTO requests (topic, key, value) VALUES (?, ?, ?)", rows)

    def results(self, count: int) -> list[bytes]:
        """See BrokerUnderTest."""
        return [value for (value,) in self._wait("SELECT value FROM results ORDER BY request", count)]

    def dead_letters(self, count: int) -> list[tuple[bytes, bytes | None]]:
        """See BrokerUnderTest."""
        return self._wait("SELECT value, key FROM dead_letters ORDER BY request", count)

    def ask(self, query: str, *values: object) -> list[Any]:
        """Run one statement and return its rows."""
        with contextlib.closing(connect(str(self.path))) as db:
            return db.execute(query, values).fetchall()

    def _wait(self, query: str, count: int) -> list[Any]:
        deadline_s = time.monotonic() + 20
        while len(found := self.ask(query)) < count:
            if time.monotonic() > deadline_s:
                raise TimeoutError(f"{len(found)} of {count}: {query}")
            time.sleep(0.01)
        return found


class TestSqlite(ConnectorContract):
    """What all connectors promise."""

    @pytest.fixture(autouse=True)
    def _folder(self, tmp_path: Path) -> None:
        self._path = tmp_path / "requests.db"

    def make_broker(self) -> BrokerUnderTest:
        """A file of its own for each test."""
        return SqliteUnderTest(self._path)


@pytest.fixture
def file(tmp_path: Path) -> SqliteUnderTest:
    """A file with tables and nothing in them."""
    return SqliteUnderTest(tmp_path / "requests.db")


@pytest.fixture
def worker(file: SqliteUnderTest) -> Iterator[Any]:
    """Open workers on the file; closed at the end."""
    with contextlib.ExitStack() as stack:

        def start(**more: Any) -> SqliteConnector:
            connector = file.connector(**more)
            connector.open()
            stack.callback(connector.close, 5.0)
            return connector

        yield start


def answer(connector: Connector, records: Sequence[Record], *answers: Answer) -> None:
    """Answer, with an echo unless told otherwise, and wait until that is in the file."""
    connector.answer(records, answers or echo(records), never).result(10)


def values(records: Sequence[Record]) -> list[bytes]:
    """What the records hold."""
    return [record.value for record in records]


def test_workers_share_the_requests(file: SqliteUnderTest, worker: Any) -> None:
    """What one has claimed is no other's."""
    one, other = worker(), worker()
    file.produce([b"a", b"b", b"c"], key=None)
    first, second = poll_some(one, 2), poll_some(other, 2)
    assert (values(first), values(second)) == ([b"a", b"b"], [b"c"])
    answer(other, second)
    answer(one, first)
    assert sorted(file.results(3)) == [b"a", b"b", b"c"]


def test_a_key_that_another_worker_has_in_flight_waits_and_no_other(file: SqliteUnderTest, worker: Any) -> None:
    """So the requests of one key are answered in order, by however many workers."""
    one, other = worker(), worker()
    file.produce([b"a1"], key=b"a")
    first = poll_some(one)
    file.produce([b"a2"], key=b"a")
    file.produce([b"b1"], key=b"b")
    assert values(poll_some(other)) == [b"b1"]
    answer(one, first)
    assert values(poll_some(other)) == [b"a2"]


def test_requests_of_a_silent_worker_come_again_and_its_late_answer_is_dropped(
    file: SqliteUnderTest, worker: Any
) -> None:
    """Its future completes all the same: the other one answers."""
    clock = FakeClock()
    stalled, other = worker(clock=clock), worker(clock=clock)
    file.produce([b"a", b"b"])
    taken = poll_some(stalled)
    assert not other.poll(10, 0.0)
    clock.advance(31)
    again = poll_some(other)
    assert values(again) == [b"a", b"b"]
    answer(stalled, taken, *[Answer(b"late", None, ())] * 2)
    answer(other, again)
    assert file.results(2) == [b"a", b"b"]


def test_a_full_worker_keeps_its_requests_for_as_long_as_it_polls(file: SqliteUnderTest, worker: Any) -> None:
    """However slow its model is."""
    clock = FakeClock()
    slow, other = worker(clock=clock), worker(clock=clock)
    file.produce([b"a"])
    taken = poll_some(slow)
    for _ in range(5):
        clock.advance(20)
        assert not slow.poll(0, 0.0)
        assert not other.poll(10, 0.0)
    answer(slow, taken)
    assert file.results(1) == [b"a"]


def test_a_request_of_anybody_with_an_sql_prompt_is_read(file: SqliteUnderTest, worker: Any) -> None:
    """Text and numbers are bytes; headers that are none are the fault of their record alone."""
    into = "INSERT INTO requests (topic, key, value, headers) VALUES ('m.requests', ?, ?, ?)"
    bad = ["nonsense", '{"a": 1}', "[[1, 2]]", '[["a", "\\ud800"]]', "[" * 100_000, 7, b"\xff"]
    for headers in ['[["é", "é"], ["é", null], ["e", ""]]', *bad]:
        file.ask(into, "kéy", "text", headers)
    good, *others = poll_some(worker())
    assert (good.value, good.key, good.fault) == (b"text", "kéy".encode(), "")
    assert list(good.headers) == [("é", "é".encode()), ("é", None), ("e", b"")]
    assert good.timestamp_ms == pytest.approx(time.time() * 1000, abs=60_000)
    assert len(others) == len(bad)
    assert all("its headers are no JSON list" in record.fault and not record.headers for record in others)


def test_headers_and_the_place_of_an_answer_are_kept(file: SqliteUnderTest, worker: Any) -> None:
    """Any bytes, repeated names; a reply topic is a topic like any other."""
    connector = worker()
    file.produce([b"a"])
    headers = [("a", b"\xff\x00"), ("a", "é".encode())]
    answer(connector, poll_some(connector), Answer(b"x", b"\xfe", headers, topic="elsewhere"))
    [row] = file.ask("SELECT topic, key, headers FROM results")
    assert row == ("elsewhere", b"\xfe", headers_to_text(headers))


@pytest.mark.parametrize("has_letter", [("first",), ("error",), ("first", "error")])
def test_an_answer_that_its_table_refuses_becomes_an_error_and_its_neighbour_goes_out(
    file: SqliteUnderTest, worker: Any, has_letter: Sequence[str]
) -> None:
    """One dead letter goes with it, whichever of the two has one. Here a trigger bounds the answers."""
    file.ask(
        "CREATE TRIGGER bound BEFORE INSERT ON results WHEN length(NEW.value) > 9 "
        "BEGIN SELECT RAISE(ABORT, 'too long'); END"
    )
    letters = {name: Error("model_error", name, retriable=False) for name in has_letter}
    connector = worker()
    file.produce([b"a", b"b"])
    refused: list[tuple[bytes, PenstockError]] = []

    def refuse(record: Record, error: PenstockError) -> Answer:
        refused.append((record.value, error))
        return Answer(b"error", None, (), dead_letter=letters.get("error"))

    answers = [Answer(b"0123456789", None, (), dead_letter=letters.get("first")), Answer(b"short", None, ())]
    connector.answer(poll_some(connector), answers, refuse).result(10)
    assert file.results(2) == [b"error", b"short"]
    assert file.ask("SELECT value, message FROM dead_letters") == [(b"a", has_letter[0])]
    [(value, error)] = refused
    assert value == b"a"
    assert isinstance(error, ResultTooLarge)


def test_a_batch_is_answered_whole_or_not_at_all(file: SqliteUnderTest, worker: Any) -> None:
    """Where a dead letter can not be written, the worker has to stop, and all of the batch comes again."""
    file.ask("CREATE TRIGGER no BEFORE INSERT ON dead_letters BEGIN SELECT RAISE(ABORT, 'read only'); END")
    file.produce([b"a", b"b"])
    first = file.connector()
    first.open()
    letter = Answer(b"error", None, (), dead_letter=Error("undecodable", "why", retriable=False))
    records = poll_some(first)
    done = first.answer(records, [Answer(b"a", None, ()), letter], never)
    with pytest.raises(ConnectorError, match="read only"):
        done.result(10)
    first.close(5.0)
    assert file.results(0) == []
    assert values(poll_some(worker())) == [b"a", b"b"]


def test_a_busy_file_is_waited_for(file: SqliteUnderTest, worker: Any) -> None:
    """Polls bring nothing meanwhile, answers come late, and nobody fails."""
    connector = worker()
    file.produce([b"a"])
    records = poll_some(connector)
    file.produce([b"b"])
    with contextlib.closing(connect(str(file.path))) as db:
        db.execute("BEGIN IMMEDIATE")
        done = connector.answer(records, echo(records), never)
        assert not connector.poll(10, 0.0)
        assert not done.done()
        db.execute("COMMIT")
    done.result(10)
    assert values(poll_some(connector)) == [b"b"]


def test_results_stay_for_as_long_as_the_route_says(tmp_path: Path) -> None:
    """And dead letters until somebody deletes them."""
    clock = FakeClock()
    file = SqliteUnderTest(
        tmp_path / "requests.db", RouteSettings(request_topic="m.requests", result_topic="m.results", retention_s=60)
    )
    connector = file.connector(clock=clock)
    connector.open()
    for value in (b"a", b"b", b"c"):
        file.produce([value])
        letter = Answer(value, None, (), dead_letter=Error("undecodable", "why", retriable=False))
        answer(connector, poll_some(connector), letter)
        clock.advance(40)
    connector.close(5.0)
    assert file.results(2) == [b"b", b"c"]
    assert len(file.dead_letters(3)) == 3


def test_an_answer_that_comes_after_the_end_is_no_answer(file: SqliteUnderTest, worker: Any) -> None:
    """The request is another worker's by then."""
    gone = file.connector()
    gone.open()
    file.produce([b"a"])
    records = poll_some(gone)
    gone.close(5.0)
    with pytest.raises(ConnectorError, match="closed before the answer"):
        gone.answer(records, echo(records), never).result(10)
    assert values(poll_some(worker())) == [b"a"]


def test_a_file_that_can_not_be_is_an_error_with_the_next_step(tmp_path: Path) -> None:
    """Raised by ``open``, so that the worker stops with it."""
    connector = SqliteConnector(ROUTE, SqliteOptions(path=str(tmp_path / "none" / "requests.db")), "test")
    with pytest.raises(ConnectorError, match="its directory must exist"):
        connector.open()


def test_a_file_that_is_no_database_stops_the_worker(tmp_path: Path) -> None:
    """It does not heal by itself, unlike one that others keep busy."""
    (tmp_path / "requests.db").write_bytes(b"no database" * 1000)
    connector = SqliteConnector(ROUTE, SqliteOptions(path=str(tmp_path / "requests.db")), "test")
    connector.open()
    with pytest.raises(ConnectorError, match=r"requests\.db: file is not a database"):
        connector.poll(10, 0.0)
    connector.close(1.0)


@pytest.mark.parametrize(
    ("route", "words"),
    [
        ({}, "path"),
        ({"connector_options": {"path": "a", "leese_s": 1}}, "leese_s"),
        ({"connector_options": {"path": "a", "lease_s": 20}}, "more than drain_timeout_s, which is 20; got 20"),
        ({"connector_options": {"path": "a"}, "request_topic": "^m.*"}, "does not know a pattern"),
        ({"connector_options": {"path": "a"}, "max_wait_ms": 5}, "does not know max_wait_ms"),
    ],
)
def test_settings_that_can_not_be_kept_are_refused(route: dict[str, Any], words: str) -> None:
    """Rather than passed over."""
    with pytest.raises(InvalidSettings, match=words):
        SqliteConnector.from_settings(RouteSettings(**{"request_topic": "m.requests", **route}), Settings(), "test")


# Claims, waits a little so that it is killed with requests in flight, and answers each with itself.
WORKER = """
import sys, time
from pipeline.settings import RouteSettings
from pipeline.testing.connector_contract import echo, never
from sqlite_connector import SqliteConnector, SqliteOptions

route = RouteSettings(request_topic="m.requests", result_topic="m.results")
connector = SqliteConnector(route, SqliteOptions(path=sys.argv[1], lease_s=1.0), "worker")
connector.open()
while True:
    records = connector.poll(20, 0.2)
    time.sleep(0.005)
    connector.answer(records, echo(records), never).result(10)
"""


def test_killed_workers_lose_and_double_nothing(file: SqliteUnderTest, monkeypatch: Any) -> None:
    """One of three at a time, with requests in flight; these come again when its lease is over."""
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parent))

    def start() -> subprocess.Popen[bytes]:
        return subprocess.Popen([sys.executable, "-c", WORKER, str(file.path)])  # noqa: S603  # the text above

    sent = [b"%d" % n for n in range(4000)]
    file.produce(sent, key=None)
    workers = [start() for _ in range(3)]
    try:
        for kill in range(5):
            [(seen,)] = file.ask("SELECT count(*) FROM results")
            file.results(min(seen + 300, len(sent)))
            workers[kill % 3].send_signal(signal.SIGKILL)
            workers[kill % 3].wait(10)
            workers[kill % 3] = start()
        assert file.results(len(sent)) == sent
        assert file.ask("SELECT * FROM requests") == []
    finally:
        for it in workers:
            it.kill()
            it.wait(10)
