"""Where a benchmark happens: requests and results in a real Redis, and the topics of a real Kafka."""

from __future__ import annotations

import numpy as np
import pytest
from confluent_kafka import Producer
from redis import Redis

from benchmarks import model, produce
from benchmarks.avro_records import AvroRecord
from benchmarks.backlog import Backlog
from benchmarks.place import Place
from benchmarks.reading import read
from benchmarks.redis_place import RedisPlace
from benchmarks.sending import send


@pytest.fixture
def place(kafka, tmp_path, topic_name):
    """A place whose topics nobody else uses."""
    made = Place(kafka.bootstrap, tmp_path, tmp_path, topic_name)
    made.create_topics()
    yield made
    made.delete_topics()


def result_of(request):
    """Return the right result of a request, in Avro."""
    datum = AvroRecord("PredictRequest").decode(request)
    row = np.frombuffer(datum["inputs"][0]["data"], "<f4").reshape(1, -1)
    output = {"name": model.OUTPUT, "datatype": "FP32", "shape": [1, 10], "data": model.expected(row).tobytes()}
    return AvroRecord("PredictResult").encode({"id": datum["id"], "servable": "mlp", "version": 1, "outputs": [output]})


def test_results_in_redis_are_accounted_with_their_size(redis, tmp_path, topic_name):
    place = Place("127.0.0.1:1", tmp_path, tmp_path, topic_name)
    there = RedisPlace(redis.url, place)
    with Redis.from_url(redis.url, protocol=2) as client:
        sizes = {len(value) for _, value in produce.requests(3)}
        assert there.produce(3) in sizes
        entries = client.xrange(place.requests)
        for id_, fields in entries[:2]:
            client.hset(f"{place.results}:{fields[b'key'].decode()}", "value", result_of(fields[b"value"]))
            client.xdel(place.requests, id_)
        account, result_bytes = there.account(3)
        assert (account["answered"], account["lost"], account["wrong"], account["uncommitted"]) == (2, 1, 0, 1)
        assert result_bytes == len(result_of(entries[0][1][b"value"]))
        client.delete(place.requests)
    there._client.close()


def test_all_of_a_topic_is_read_to_its_end_and_nothing_more(place):
    producer = Producer({"bootstrap.servers": place.bootstrap})
    pairs = list(produce.requests(7))
    assert send(producer, place.requests, pairs, 60) == (7, len(pairs[0][1]))
    read_again = list(read(place.bootstrap, place.requests))
    assert sorted((message.key(), message.value()) for message in read_again) == pairs
    assert {message.partition() for message in read_again} == set(range(place.partitions)), "partitions take turns"
    assert list(read(place.bootstrap, place.results)) == []


def test_answers_that_nobody_looks_at_are_accounted_by_their_keys(place):
    asked = Backlog(4, is_unread=True)
    asked.produce(place)
    producer = Producer({"bootstrap.servers": place.bootstrap})
    keys = [key for key, _ in produce.requests(4)]
    send(producer, place.results, [(key, b"the same to all") for key in [*keys[:3], keys[0]]], 60)
    account = asked.collect(place)["account"]
    assert (account["answered"], account["lost"], account["duplicated"], account["wrong"]) == (3, 1, 1, 0)
