"""The contract suite of connectors: subclass it in a test module, provide the broker, and run pytest.

::

    class TestMine(ConnectorContract):
        def make_broker(self) -> BrokerUnderTest: ...
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Protocol

from pipeline.connector import Answer, Connector, Record
from pipeline.errors import PenstockError
from pipeline.records import Error


class BrokerUnderTest(Protocol):
    """One request log that the suite writes to, and what came out of it."""

    def connector(self) -> Connector:
        """Return a new connector on this broker, as another worker of the same deployment would have it."""
        ...

    def produce(self, values: Sequence[bytes], key: bytes | None = b"key") -> None:
        """Append requests, all with one key, in order; return when the broker has them."""
        ...

    def results(self, count: int) -> list[bytes]:
        """Return the values of the result log from its start, once there are ``count``; raise TimeoutError."""
        ...

    def dead_letters(self, count: int) -> list[tuple[bytes, bytes | None]]:
        """Return value and key of the dead letters, likewise."""
        ...


def poll_some(connector: Connector, max_records: int = 100, timeout_s: float = 20.0) -> Sequence[Record]:
    """Poll until there are records; raise TimeoutError."""
    deadline_s = time.monotonic() + timeout_s
    while time.monotonic() < deadline_s:
        records = connector.poll(max_records, 0.2)
        if records:
            return records
    raise TimeoutError(f"no records within {timeout_s:g} s")


def echo(records: Sequence[Record]) -> list[Answer]:
    """Answer each record with its own value."""
    return [Answer(record.value, record.key, record.headers) for record in records]


def never(record: Record, error: PenstockError) -> Answer:
    """A ``refuse`` for batches that no broker refuses."""
    raise AssertionError(f"refused: {record}: {error}")


class ConnectorContract:
    """What every connector must do. Each test has a broker of its own."""

    def make_broker(self) -> BrokerUnderTest:
        """Return a broker with nothing in it."""
        raise NotImplementedError

    def _run(self, body: Callable[[BrokerUnderTest, Connector], None]) -> None:
        broker = self.make_broker()
        connector = broker.connector()
        connector.open()
        try:
            body(broker, connector)
        finally:
            connector.close(10.0)

    def test_what_is_waiting_comes_in_order_and_within_the_limit(self) -> None:
        """Several polls of at most three bring all, in order."""

        def body(broker: BrokerUnderTest, connector: Connector) -> None:
            broker.produce([b"%d" % n for n in range(10)])
            got: list[bytes] = []
            while len(got) < 10:
                records = poll_some(connector, 3)
                assert len(records) <= 3
                got += [record.value for record in records]
                connector.answer(records, echo(records), never).result(10)
            assert got == [b"%d" % n for n in range(10)]
            assert broker.results(10) == got

        self._run(body)

    def test_a_poll_waits_for_the_first_record_only(self) -> None:
        """One record comes at once, however many were asked for."""

        def body(broker: BrokerUnderTest, connector: Connector) -> None:
            broker.produce([b"warm"])
            warm = poll_some(connector)
            connector.answer(warm, echo(warm), never).result(10)
            broker.produce([b"one"])
            started_s = time.monotonic()
            records: Sequence[Record] = ()
            while not records and time.monotonic() - started_s < 10:  # it may return nothing sooner
                records = connector.poll(1000, 20.0)
            assert time.monotonic() - started_s < 10
            assert [record.value for record in records] == [b"one"]
            connector.answer(records, echo(records), never).result(10)

        self._run(body)

    def test_a_batch_ends_before_it_has_too_many_bytes_and_a_larger_record_comes_alone(self) -> None:
        """Whatever the sizes are, all come, in order."""
        values = [size * b"x" for size in (400, 400, 400, 3000, 1, 999, 1, 0, 1500)]

        def body(broker: BrokerUnderTest, connector: Connector) -> None:
            broker.produce(values)
            got: list[bytes] = []
            deadline_s = time.monotonic() + 20
            while len(got) < len(values) and time.monotonic() < deadline_s:
                records = connector.poll(100, 0.2, 1000)
                assert sum(len(record.value) for record in records) <= 1000 or len(records) == 1
                got += [record.value for record in records]
                if records:
                    connector.answer(records, echo(records), never).result(10)
            assert got == values

        self._run(body)

    def test_an_empty_poll_returns_after_its_timeout(self) -> None:
        """Nothing waiting is no error."""

        def body(_: BrokerUnderTest, connector: Connector) -> None:
            assert list(connector.poll(10, 0.05)) == []

        self._run(body)

    def test_a_full_route_takes_nothing_and_loses_nothing(self) -> None:
        """Polls of none keep what is there for later."""

        def body(broker: BrokerUnderTest, connector: Connector) -> None:
            broker.produce([b"a"])
            first = poll_some(connector)
            broker.produce([b"b", b"c"])
            for _ in range(5):
                assert list(connector.poll(0, 0.05)) == []
            connector.answer(first, echo(first), never).result(10)
            got: list[bytes] = []
            while len(got) < 2:
                records = poll_some(connector)
                got += [record.value for record in records]
                connector.answer(records, echo(records), never).result(10)
            assert got == [b"b", b"c"]

        self._run(body)

    def test_what_was_answered_does_not_come_again(self) -> None:
        """A successor starts behind the last answer."""
        broker = self.make_broker()
        first = broker.connector()
        first.open()
        broker.produce([b"a"])
        records = poll_some(first)
        first.answer(records, echo(records), never).result(10)
        first.close(10.0)
        second = broker.connector()
        second.open()
        try:
            broker.produce([b"b"])
            assert [record.value for record in poll_some(second)] == [b"b"]
        finally:
            second.close(0.1)

    def test_what_was_not_answered_comes_again(self) -> None:
        """A record that was only polled is the successor's."""
        broker = self.make_broker()
        first = broker.connector()
        first.open()
        broker.produce([b"a", b"b"])
        assert poll_some(first)
        first.close(0.1)
        second = broker.connector()
        second.open()
        try:
            got: list[bytes] = []
            while len(got) < 2:  # perhaps one at a time: the first has left with them in flight
                records = poll_some(second)
                second.answer(records, echo(records), never).result(10)
                got += [record.value for record in records]
            assert got == [b"a", b"b"]
        finally:
            second.close(0.1)

    def test_a_dead_letter_has_the_bytes_of_its_record(self) -> None:
        """Value and key untouched, and the answer goes out as well."""

        def body(broker: BrokerUnderTest, connector: Connector) -> None:
            broker.produce([b"\x00\xff garbage"], key=b"\xfe")
            records = poll_some(connector)
            answers = [Answer(b"error", None, (), dead_letter=Error("undecodable", "why", retriable=False))]
            connector.answer(records, answers, never).result(10)
            assert broker.dead_letters(1) == [(b"\x00\xff garbage", b"\xfe")]
            assert broker.results(1) == [b"error"]

        self._run(body)

    def test_closing_twice_is_closing_once(self) -> None:
        """And closing without a single poll is no error."""
        connector = self.make_broker().connector()
        connector.open()
        connector.close(5.0)
        connector.close(5.0)
