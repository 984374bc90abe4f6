"""The client of the SQLite connector, with a worker's route behind it."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from sqlite_client import SqliteInputQueue, SqliteOutputQueue
from sqlite_connector import SqliteConnector, SqliteOptions

from pipeline.clock import SystemClock
from pipeline.codecs.avro_codec import AvroCodec
from pipeline.errors import ConnectorError, RemoteError, TimedOut
from pipeline.registry.servable import ServableId
from pipeline.serving.dispatcher import Dispatcher
from pipeline.settings import RouteSettings
from pipeline.testing.fakes import AddingServable, manager_with
from pipeline.testing.repeated import repeated

ROUTE = RouteSettings(servable="sums", request_topic="sums.requests", result_topic="sums.results")


@pytest.fixture
def path(tmp_path: Path) -> str:
    """The file."""
    return str(tmp_path / "requests.db")


@pytest.fixture
def worker(path: str) -> Iterator[None]:
    """A route by hand: the connector, and the dispatcher on a servable that adds, on one thread."""
    connector = SqliteConnector(ROUTE, SqliteOptions(path=path), "test")
    dispatcher = Dispatcher(
        ROUTE, manager_with({ServableId("sums", 1): AddingServable()}), [AvroCodec()], SystemClock()
    )

    def serve() -> None:
        records = connector.poll(100, 0.1)
        connector.answer(records, dispatcher.answer(dispatcher.decode(records)), dispatcher.refuse).result(10)

    connector.open()
    with repeated(serve):
        yield
    connector.close(5.0)


@pytest.mark.usefixtures("worker")
def test_predict_returns_the_answer(path: str) -> None:
    """And raises the error of an error result."""
    with SqliteInputQueue(path, "sums") as requests:
        answer = requests.predict({"x": np.array([[1, 2], [3, 4]], np.float32)}, timeout=20)
        assert isinstance(answer, np.ndarray)
        assert answer.tolist() == [3, 7]
        with pytest.raises(RemoteError) as failed:
            requests.predict({"y": [[1.0, 2.0]]}, timeout=20)
        assert failed.value.code == "unknown_input"


@pytest.mark.usefixtures("worker")
def test_results_are_taken_by_id_or_all_at_once(path: str) -> None:
    """Each of them once: what is taken is deleted."""
    with SqliteInputQueue(path, "sums") as requests, SqliteOutputQueue(path, "sums") as results:
        for id_, row in (("a", [1.0, 2.0]), ("b", [3.0, 4.0]), ("c", [13.0, 0.0])):
            assert requests.enqueue(id_, x=[row]) == id_
        answer = results.query("b", timeout=20)
        assert isinstance(answer, np.ndarray)
        assert answer.tolist() == [7]
        assert results.query("b") is None
        found: dict[str, object] = {}
        while len(found) < 2:
            found |= results.dequeue()
        assert isinstance(found["a"], np.ndarray)
        assert isinstance(found["c"], RemoteError)
        assert results.dequeue() == {}


def test_nobody_answers(path: str) -> None:
    """The request stays, and is not computed any more when its deadline is over."""
    with SqliteInputQueue(path, "sums") as requests, pytest.raises(TimedOut):
        requests.predict([[1.0, 2.0]], timeout=0.05)


def test_a_client_that_finds_too_many_waiting_sends_nothing(path: str) -> None:
    """The file does not grow without end while no worker runs."""
    with contextlib.closing(SqliteInputQueue(path, "sums", max_waiting=2)) as requests:
        requests.enqueue("a", x=[[1.0, 2.0]])
        requests.enqueue("b", x=[[1.0, 2.0]])
        with pytest.raises(ConnectorError, match="2 requests wait already"):
            requests.enqueue("c", x=[[1.0, 2.0]])
