"""The memory connector: a broker in this process. For tests, and the reference of what the contract means."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Sequence
from concurrent.futures import Future

from pipeline.connector import NO_LIMIT, Answer, Headers, Record, Refuse, options_of
from pipeline.settings import RouteSettings, Section, Settings


class MemoryBroker:
    """One request log with one partition, its results and its dead letters. Thread-safe."""

    def __init__(self) -> None:
        self.changed = threading.Condition()
        self.requests: list[Record] = []
        self.results: list[tuple[Record, Answer]] = []
        self.dead_letters: list[tuple[Record, Answer]] = []
        self.committed = 0

    def produce(self, value: bytes, key: bytes | None = None, headers: Headers = (), timestamp_ms: int = 0) -> Record:
        """Append one request and return it."""
        with self.changed:
            record = Record(value, key, headers, "memory", 0, len(self.requests), timestamp_ms)
            self.requests.append(record)
            self.changed.notify_all()
            return record

    def wait_for_results(self, count: int, timeout_s: float = 10.0) -> list[tuple[Record, Answer]]:
        """Return the results when there are ``count`` of them; raises TimeoutError."""
        with self.changed:
            if not self.changed.wait_for(lambda: len(self.results) >= count, timeout_s):
                raise TimeoutError(f"{len(self.results)} of {count} results within {timeout_s:g} s")
            return list(self.results)


class MemoryConnector:
    """See Connector. One that is closed without having answered leaves its records to the next one on the broker."""

    def __init__(self, broker: MemoryBroker) -> None:
        self._broker = broker
        self._position = 0
        self._open = False

    @classmethod
    def from_settings(cls, route: RouteSettings, settings: Settings, client_id: str) -> MemoryConnector:
        """Return a connector on a broker of its own; raises InvalidSettings where options are given."""
        del settings, client_id
        options_of(route, Section)
        return cls(MemoryBroker())

    @property
    def broker(self) -> MemoryBroker:
        """The broker, for tests."""
        return self._broker

    def open(self) -> None:
        """See Connector."""
        with self._broker.changed:
            self._position = self._broker.committed
            self._open = True

    def poll(self, max_records: int, timeout_s: float, max_bytes: int = NO_LIMIT) -> Sequence[Record]:
        """See Connector."""
        broker = self._broker
        with broker.changed:
            if max_records == 0:
                broker.changed.wait(timeout_s)
                return []
            broker.changed.wait_for(lambda: len(broker.requests) > self._position or not self._open, timeout_s)
            records = broker.requests[self._position : self._position + max_records]
            sizes = itertools.accumulate(len(record.value) for record in records)
            fitting = max(1, sum(size <= max_bytes for size in sizes))
            self._position += len(records[:fitting])
            return records[:fitting]

    def answer(self, records: Sequence[Record], answers: Sequence[Answer], refuse: Refuse) -> Future[None]:
        """See Connector: everything is accepted at once."""
        del refuse
        done: Future[None] = Future()
        with self._broker.changed:
            for record, answer in zip(records, answers, strict=True):
                self._broker.results.append((record, answer))
                if answer.dead_letter is not None:
                    self._broker.dead_letters.append((record, answer))
                self._broker.committed = max(self._broker.committed, record.offset + 1)
            self._broker.changed.notify_all()
        done.set_result(None)
        return done

    def close(self, timeout_s: float) -> None:
        """See Connector."""
        del timeout_s
        with self._broker.changed:
            self._open = False
            self._broker.changed.notify_all()
