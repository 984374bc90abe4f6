"""The control topics on a real Kafka: what is Kafka's alone. What both brokers promise is in test_control_logs.py."""

from __future__ import annotations

import logging
from typing import Any

import pytest
from confluent_kafka import Producer

from pipeline.control.aspired import AspiredFollower, AspiredPublisher
from pipeline.control.kafka_log_reader import KafkaLogReader
from pipeline.control.kafka_logs import KafkaLogs
from pipeline.control.logs import read_all
from pipeline.control.topic_admin import create_missing, describe, inspect
from pipeline.control.topic_reports import findings
from pipeline.control.topics import TopicSpec, wanted
from pipeline.errors import ConnectorError
from pipeline.records import AspiredVersion, AspiredVersions
from pipeline.settings import ControlSettings, RouteSettings, Settings, StreamSettings
from tests.integration.control_places import DEADLINE_S, compacted
from tests.waiting import wait_for


@pytest.fixture
def properties(kafka: Any) -> dict[str, Any]:
    return {"bootstrap.servers": kafka.bootstrap}


@pytest.fixture
def topic(properties: dict[str, Any], topic_name: str) -> str:
    create_missing(properties, [compacted(topic_name)])
    return topic_name


def test_a_topic_that_is_missing_is_waited_for_and_logged_once(
    properties: dict[str, Any], topic_name: str, caplog: Any
) -> None:
    follower = AspiredFollower(
        KafkaLogs(properties),
        topic_name,
        "w-1",
        on_aspired=lambda *_: None,
        on_forgotten=lambda *_: None,
        on_fatal=print,
    )
    with caplog.at_level(logging.WARNING, "pipeline.control"):
        follower.start()
        wait_for("the missing topic is noticed", lambda: follower.problem)
        assert not follower.caught_up.wait(1.5)
        assert [record.message.count("penstock topics --create") for record in caplog.records] == [1]
        create_missing(properties, [compacted(topic_name)])
        assert follower.caught_up.wait(DEADLINE_S)
    assert follower.problem is None
    follower.stop()


def test_partitions_that_are_added_while_it_runs_are_read(
    properties: dict[str, Any], topic: str, monkeypatch: Any
) -> None:
    from confluent_kafka.admin import AdminClient, NewPartitions

    monkeypatch.setattr("pipeline.control.kafka_log_reader._REDISCOVER_S", 0.2)
    seen: list[tuple[bytes | None, int]] = []
    reader = KafkaLogReader(
        properties, topic, "r", on_record=lambda key, _value, part, _offset: seen.append((key, part)), on_fatal=print
    )
    reader.start()
    assert reader.caught_up.wait(DEADLINE_S)
    admin = AdminClient(properties)
    for future in admin.create_partitions([NewPartitions(topic, 2)]).values():
        future.result()
    producer = Producer(properties)
    producer.produce(topic, b"v", b"k", partition=1)
    producer.flush()
    wait_for("the record of the new partition", lambda: (b"k", 1) in seen)
    reader.stop()


def test_aborted_records_and_their_markers_do_not_hold_the_reader_up(properties: dict[str, Any], topic: str) -> None:
    producer = Producer({**properties, "transactional.id": topic})
    producer.init_transactions()
    for value, end in ((b"kept", producer.commit_transaction), (b"dropped", producer.abort_transaction)):
        producer.begin_transaction()
        producer.produce(topic, value, b"k")
        producer.flush()
        end()
    assert read_all(KafkaLogs(properties), topic) == {b"k": b"kept"}


def test_read_all_of_a_missing_topic_says_what_to_do(properties: dict[str, Any], topic_name: str) -> None:
    with pytest.raises(ConnectorError, match="penstock topics --create"):
        read_all(KafkaLogs(properties), topic_name, timeout_s=1.0)


def test_publishing_to_a_missing_topic_says_what_to_do_and_creates_nothing(
    properties: dict[str, Any], topic_name: str
) -> None:
    publisher = AspiredPublisher(KafkaLogs(properties), topic_name, "watcher-1")
    with pytest.raises(ConnectorError, match="penstock topics --create"):
        publisher.publish(AspiredVersions("digits", (AspiredVersion(1, "/m/digits/1"),)))
    publisher.close()
    assert describe(properties, [topic_name]) == {}


def test_topics_are_created_as_wanted_and_once(properties: dict[str, Any], topic_name: str) -> None:
    settings = Settings(
        kafka=properties,
        control=ControlSettings(aspired_topic=f"{topic_name}.aspired", states_topic=f"{topic_name}.states"),
        servables={"digits": StreamSettings(base_path="/m")},
        routes={
            "digits": RouteSettings(
                servable="digits",
                request_topic=f"{topic_name}.requests",
                result_topic=f"{topic_name}.results",
                dead_letter_topic=f"{topic_name}.requests-dlt",
                max_result_bytes=3_000_000,
            )
        },
    )
    specs = wanted(settings)
    assert {finding.reason for finding in findings(settings)} == {"does not exist"}
    assert sorted(create_missing(properties, specs, partitions=3)) == sorted(spec.name for spec in specs)
    assert create_missing(properties, specs, partitions=3) == []
    assert findings(settings) == []
    partitions = {
        r.spec.name.removeprefix(topic_name): r.described and r.described.partitions for r in inspect(settings)
    }
    assert partitions == {".requests": 3, ".results": 3, ".requests-dlt": 3, ".aspired": 1, ".states": 1}


def test_a_control_topic_that_is_not_compacted_is_a_problem_with_its_remedy(
    properties: dict[str, Any], topic_name: str
) -> None:
    create_missing(properties, [TopicSpec(topic_name, 1, {"cleanup.policy": "delete"}, "test")])
    control = ControlSettings(aspired_topic=topic_name, states_topic=f"{topic_name}.states")
    (finding, _) = findings(Settings(kafka=properties, control=control))
    assert (finding.is_problem, finding.is_dangerous) == (True, True)
    assert "cleanup.policy" in finding.reason
    assert finding.fix == {"cleanup.policy": "compact"}


def test_a_broker_that_is_away_is_named_with_its_address() -> None:
    with pytest.raises(ConnectorError, match=r"127\.0\.0\.1:1"):
        describe({"bootstrap.servers": "127.0.0.1:1"}, ["t"], timeout_s=0.5)
