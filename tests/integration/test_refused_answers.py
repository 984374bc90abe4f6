"""What a real Kafka refuses for its size is answered with something smaller, and the worker goes on."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from confluent_kafka import Consumer, Producer, TopicPartition

from pipeline.records import PredictRequest, PredictResult
from pipeline.tensors import Array, from_array
from pipeline.testing.fakes import AddingServable
from tests.integration.group_places import PARTITIONS, Place
from tests.integration.members import wait_for
from tests.unit.running_route import CODEC, Stage


class Large(AddingServable):
    """Answers a row that holds 7 with 2 MB."""

    def predict(self, signature: str, inputs: Mapping[str, Array]) -> Mapping[str, Array]:
        if (inputs["x"] == 7).any():
            return {"sum": np.zeros((len(inputs["x"]), 500_000), np.float32)}
        return super().predict(signature, inputs)


def results(place: Place, count: int) -> list[PredictResult]:
    consumer = Consumer({**place.kafka, "group.id": "reader", "enable.auto.commit": False})
    consumer.assign([TopicPartition(place.route.result_topic, p, 0) for p in range(PARTITIONS)])
    found: list[PredictResult] = []

    def enough() -> bool:
        found.extend(CODEC.decode_result(message.value()) for message in consumer.consume(100, 0.1))
        return len(found) >= count

    wait_for(f"{count} results", enough)
    consumer.close()
    return found


def test_a_result_and_a_text_of_the_request_that_the_topic_does_not_take_are_errors_of_their_requests(
    kafka, topic_name
):
    place = Place(kafka.bootstrap, topic_name, max_result_bytes=5_000_000, max_batch_size=1)
    producer = Producer({**place.kafka, "message.max.bytes": 10_000_000})
    long = "n" * 2_000_000
    for id_, servable, number in [("a", "", 1), ("large", "", 7), ("b", "", 1), ("c", long, 1), ("d", "", 1)]:
        request = PredictRequest(id_, servable, inputs=(from_array("x", np.full((1, 2), number, np.float32)),))
        producer.produce(place.route.request_topic, CODEC.encode_request(request), partition=0)
    assert producer.flush(30) == 0
    with Stage(place.connector("one"), place.route, Large()) as stage:
        found = results(place, 5)
        assert not stage.crashes
        assert stage.route.stop(20)
    assert place.committed() == 5
    codes = {result.id: result.error and result.error.code for result in found}
    assert codes == {"a": None, "large": "result_too_large", "b": None, "c": "result_too_large", "d": None}
