"""A route whose requests name schemas that a registry must be asked for: the thread that polls goes on."""

from __future__ import annotations

import threading
from collections.abc import Sequence

from connectors.memory import MemoryBroker, MemoryConnector
from pipeline.codecs import confluent, schemas
from pipeline.codecs.confluent import WriterSchema
from pipeline.connector import NO_LIMIT, Record
from pipeline.errors import SchemaUnavailable
from tests.unit.running_route import REQUEST, Stage

NAME = confluent.of_id(1)
NAMED = NAME + REQUEST[schemas.PREFIX_BYTES :]


class Registry:
    """Answers when it is told to; notes who has asked."""

    def __init__(self) -> None:
        self.answers = threading.Event()
        self.asked = threading.Event()
        self.asked_by: list[str] = []
        self._is_known = False

    def find(self, name: bytes) -> WriterSchema:
        if not self._is_known:
            raise SchemaUnavailable(confluent.text(name), name, "no answer")
        return WriterSchema(schemas.prefix("PredictRequest"), schemas.schema("PredictRequest"))

    def fetch(self, names: set[bytes]) -> None:
        assert names == {NAME}
        self.asked_by.append(threading.current_thread().name)
        self.asked.set()
        self._is_known = self.answers.wait(20)


class Polled(MemoryConnector):
    """Says when it is polled though the route is full."""

    def __init__(self, broker: MemoryBroker) -> None:
        super().__init__(broker)
        self.is_kept_alive = threading.Event()

    def poll(self, max_records: int, timeout_s: float, max_bytes: int = NO_LIMIT) -> Sequence[Record]:
        if max_records == 0:
            self.is_kept_alive.set()
        return super().poll(max_records, timeout_s, max_bytes)


def test_the_registry_is_asked_on_a_compute_thread_while_the_feeder_polls_on_and_order_is_kept() -> None:
    broker, registry = MemoryBroker(), Registry()
    connector = Polled(broker)
    with Stage(connector, schemas_by_name=registry, fetch=registry.fetch) as stage:
        for number in range(10):
            broker.produce(NAMED if number % 2 else REQUEST)
        assert registry.asked.wait(20)
        assert connector.is_kept_alive.wait(20)  # the route is full, and the membership is kept
        registry.answers.set()
        results = broker.wait_for_results(10)
        assert [record.offset for record, _ in results] == list(range(10))
        assert not stage.crashes
        assert stage.route.stop(10)
    assert not [thread for thread in registry.asked_by if thread.endswith("feeder")]
