"""Random and mutated records to a live worker on a real Kafka: each is answered once, by its place in the log."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from confluent_kafka import KafkaError, Message, Producer

from pipeline.records import PredictRequest
from pipeline.tensors import from_array
from tests.acceptance.conftest import Deploy, deploy
from tests.acceptance.reading import read_until
from tests.fuzz.raw_producer import produce
from tests.fuzz.records import CODECS, fuzzed

__all__ = ["deploy"]  # the fixture

RECORDS = 20_000
PARTITIONS = 4
LETTERS = ("undecodable", "record_too_large")
Place = tuple[int, int]


def send(bootstrap: str, topic: str, seed: int, count: int) -> set[Place]:
    """Send the records of a seed, and return where they lie."""
    places: set[Place] = set()

    def delivered(error: KafkaError | None, message: Message) -> None:
        assert error is None, error
        places.add((message.partition() or 0, message.offset() or 0))

    producer = Producer({"bootstrap.servers": bootstrap, "linger.ms": 20})
    for number in range(count):
        it = fuzzed(seed, number)
        while True:
            try:
                producer.produce(
                    topic, it.value, it.key, number % PARTITIONS, headers=it.headers, on_delivery=delivered
                )
            except BufferError:
                producer.poll(0.1)
            else:
                break
        producer.poll(0)
    assert producer.flush(60) == 0
    return places


@pytest.mark.timeout(1200)
def test_every_record_is_answered_once_and_those_that_can_not_be_read_are_dead_letters(
    deploy: Deploy, request: pytest.FixtureRequest
) -> None:
    """20,000 of them, with --fuzz-records as many as you like; --fuzz-seed repeats a run."""
    seed, count = request.config.getoption("--fuzz-seed"), request.config.getoption("--fuzz-records") or RECORDS
    it = deploy(routes={"factor": {"max_record_bytes": 20_000}})
    it.drop("factor", 1, {"factor": b"10"})
    worker = it.worker("one", "--watch").wait_until_ready()
    route = it.settings.routes["factor"]
    places = send(it.bootstrap, route.request_topic, seed, count)
    good = CODECS[0].encode_request(PredictRequest("good", inputs=(from_array("x", np.ones((1, 1), np.float32)),)))
    produce(it.bootstrap, route.request_topic, 0, good, [b"mine", b"\xff\xfe"], 20)  # a name that is not UTF-8
    count += 20
    assert len(places) == count - 20

    def is_enough(found: list[Any]) -> bool:
        return len(found) >= count or worker.popen.poll() is not None

    messages = read_until(it.bootstrap, route.result_topic, is_enough, 60 + count / 500)
    assert worker.popen.poll() is None, worker.log[-3000:]
    codes: dict[Place, str] = {}
    for message in messages:
        value = message.value()
        result = next(codec for codec in CODECS if codec.recognises(value)).decode_result(value)
        assert result.source is not None
        place = result.source.partition, result.source.offset
        assert place not in codes, f"{place} is answered twice"
        codes[place] = "ok" if result.error is None else result.error.code
    assert len(codes) == count
    assert places < codes.keys()
    assert "internal" not in codes.values()
    assert len(set(codes.values())) >= 9, set(codes.values())

    expected = {place for place, code in codes.items() if code in LETTERS}
    letters = read_until(it.bootstrap, route.dead_letter_topic, lambda found: len(found) >= len(expected), 60)
    assert len(letters) == len(expected)
    assert {origin(letter) for letter in letters} == expected
    assert worker.versions() == {"factor": [1]}
    assert not [line for line in worker.log.splitlines() if "[ERROR]" in line or "[CRITICAL]" in line]


def origin(letter: Any) -> Place:
    headers = dict(letter.headers())
    partition, offset = headers["kafka_dlt-original-partition"], headers["kafka_dlt-original-offset"]
    return int.from_bytes(partition, "big"), int.from_bytes(offset, "big")
