"""The case ``redis-enqueue`` on a real Redis: what is asked, and whom the target is about."""

from __future__ import annotations

import sys
from types import SimpleNamespace

import pytest
from redis import Redis

from benchmarks import enqueue, environment
from benchmarks.avro_records import AvroRecord
from benchmarks.cases import redis_enqueue
from benchmarks.workload import PAIR

RATES = {"penstock": 30.0, "cluster_serving": 2.0, "one_by_one": 10.0}


@pytest.mark.parametrize("kind", ["penstock", "one_by_one"])
def test_a_request_is_one_row_of_two_floats(kind, redis, topic_name):
    enqueue.KINDS[kind](redis.url, topic_name, 3)()
    with Redis.from_url(redis.url, protocol=2) as client:
        values = [fields[b"value"] for _, fields in client.xrange(topic_name)]
    requests = [AvroRecord("PredictRequest").decode(value) for value in values]
    assert [request["id"] for request in requests] == [f"request-{number:09d}" for number in range(3)]
    for request, row in zip(requests, PAIR.rows(), strict=False):  # there are more rows
        (tensor,) = request["inputs"]
        assert (tensor["name"], tensor["datatype"], tensor["shape"]) == ("x", "FP32", [1, 2])
        assert tensor["data"] == row.tobytes()


def a_report(monkeypatch, lost=0):
    """Return the report of a run whose clients send at RATES; theirs sends ``lost`` fewer each time than it should."""

    def helper(module, kind, url, topic, count, *, timeout_s, python):
        rival = {one.NAME: one for one in redis_enqueue.RIVALS}[kind]
        is_theirs = kind == "cluster_serving"
        assert python == (environment.python(redis_enqueue.ENVIRONMENT) if is_theirs else sys.executable)
        with Redis.from_url(url, protocol=2) as client:
            for number in range(count - lost * is_theirs):
                client.xadd(topic, {rival.id_field: f"request-{number:09d}", rival.value_field: b"x" * len(kind)})
        return RATES[kind]

    set_up = []
    monkeypatch.setattr(redis_enqueue, "helper", helper)
    monkeypatch.setattr(environment, "set_up", set_up.append)
    report = redis_enqueue.run(SimpleNamespace(cores="nobody"), rounds=2, requests=20)
    assert set_up == [redis_enqueue.ENVIRONMENT]
    return report


def test_the_target_is_about_their_client_and_the_one_by_hand_is_a_further_ratio(monkeypatch):
    report = a_report(monkeypatch)
    assert (report["ratio"], report["target"], report["reached"]) == (15.0, 10.0, True)
    assert report["ratios"] == {"penstock / one_by_one": {"ratio": 3.0, "target": None, "reached": None}}
    assert report["settings"]["requests"] == {"penstock": 20, "cluster_serving": 2, "one_by_one": 20}
    assert report["settings"]["request_bytes"] == {name: len(name) for name in RATES}
    assert report["faults"] == []


def test_requests_that_their_client_loses_fail_the_case(monkeypatch):
    assert a_report(monkeypatch, lost=1)["faults"] == ["cluster_serving: 2 lost"]
