"""`penstock dead-letters` on a real Kafka."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from confluent_kafka import Consumer, Message, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic

from pipeline.connector import Headers, Record
from pipeline.dead_letters import headers
from pipeline.dead_letters.headers import Reason
from pipeline.records import Error
from tests.integration.dead_letters import START_MS, Letters, request


class Place(Letters):
    """A settings file with one route, its topics, and what lies in them."""

    def __init__(self, folder: Path, bootstrap: str, name: str) -> None:
        self.name, self.config = name, folder / "penstock.yaml"
        self.kafka = {"bootstrap.servers": bootstrap}
        self.requests, self.letters = f"{name}.requests", f"dlq.{name}"
        self.config.write_text(
            f"kafka: {{bootstrap.servers: '{bootstrap}'}}\n"
            f"servables: {{{name}: {{base_path: models}}}}\n"
            f"routes: {{{name}: {{dead_letter_topic: {self.letters}}}}}\n"
        )
        admin = AdminClient(self.kafka)
        topics = [NewTopic(topic, 2, 1) for topic in (self.requests, self.letters, f"{name}.other")]
        for future in admin.create_topics(topics).values():
            future.result(30)
        self._producer = Producer({**self.kafka, "log_level": 0})

    def put(self, n: int, value: bytes | None, code: str, own: Headers = (), **reason: Any) -> None:
        """Put a letter aside: letter n lies on partition n % 2, and its request lay at offset 100 + n there."""
        record = Record(value or b"", b"key-%d" % n, own, self.requests, n % 2, 100 + n, START_MS)
        why = Reason(Error(code, f"why {n}", code == "not_ready"), "w1", "g", START_MS + n * 1000, **reason)
        found: list[tuple[str, str | bytes | None]] = [*headers.write(record, why, "spring")]
        self._producer.produce(self.letters, value, record.key, n % 2, headers=found)
        assert self._producer.flush(20) == 0

    def read(self, topic: str) -> list[Message]:
        """Return all that a topic holds now."""
        consumer = Consumer({**self.kafka, "group.id": "reader", "enable.auto.commit": False})
        ends = [consumer.get_watermark_offsets(TopicPartition(topic, partition), 10)[1] for partition in (0, 1)]
        consumer.assign([TopicPartition(topic, partition, 0) for partition in (0, 1)])
        found: list[Message] = consumer.consume(sum(ends), 20) if sum(ends) else []
        consumer.close()
        assert len(found) == sum(ends)
        return found


@pytest.fixture
def place(tmp_path: Path, kafka: Any, topic_name: str, no_variables: None) -> Place:
    it = Place(tmp_path, kafka.bootstrap, topic_name)
    it.put(0, b"\x00\xff garbage", "undecodable", [("mine", b"\xfe")])
    it.put(1, request("one", servable="ranker"), "model_error", [("penstock-attempt", b"2"), ("a", b"1"), ("a", None)])
    it.put(2, request("two"), "poison_record")
    it.put(3, None, "record_too_large", omitted_bytes=5_000_000)
    return it


def offsets(found: Any) -> list[tuple[int, int]]:
    return [(each["partition"], each["offset"]) for each in found]


def test_what_is_listed_is_what_lies_there_the_oldest_first(place: Place) -> None:
    found = place.json("list")
    assert [each["error"] for each in found] == ["undecodable", "model_error", "poison_record", "record_too_large"]
    assert offsets(found) == [(0, 0), (1, 0), (0, 1), (1, 1)]
    assert found[1]["servable"] == "ranker"
    assert found[2]["servable"] == place.name
    assert found[1]["request"] == {
        "topic": place.requests, "partition": 1, "offset": 101, "timestamp_ms": START_MS,
    }  # fmt: skip
    assert (found[1]["attempts"], found[3]["value_bytes"]) == (2, 5_000_000)
    table = place.run("list", place.name).output
    assert "poison_record" in table
    assert f"{place.requests}[1]@101" in table
    assert "left out (5000000)" in table


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (("--error", "model_error", "--error", "undecodable"), [(0, 0), (1, 0)]),
        (("--since", "2023-11-14T22:13:21", "--until", "2023-11-14T22:13:23"), [(1, 0), (0, 1)]),
        (("--until", "1h", "--partition", "1"), [(1, 0), (1, 1)]),
        (("--partition", "0", "--offset", "1"), [(0, 1)]),
        (("--servable", "ranker"), [(1, 0)]),
        (("--key", "hex:6b65792d32"), [(0, 1)]),
        (("--limit", "1"), [(1, 1)]),
        (("--since", "1h"), []),
    ],
)
def test_filters_choose(place: Place, arguments: tuple[str, ...], expected: list[tuple[int, int]]) -> None:
    assert offsets(place.json("list", *arguments)) == expected


def test_a_letter_is_shown_decoded_where_it_can_be_and_in_hexadecimal_where_not(place: Place) -> None:
    text = place.run("show", "--partition", "1", "--offset", "0").output
    for words in ("model_error", "why 1", "one", "x: FP32 [1, 2]", "a: 1", f"{place.requests}[1]@101"):
        assert words in text
    text = place.run("show", "--partition", "0", "--offset", "0").output
    for words in ("00ff2067 61726261 6765", "garbage", "mine: hex:fe"):
        assert words in text
    assert "left out" in place.run("show", "--error", "record_too_large").output
    [found] = place.json("show", "--error", "model_error")
    assert found["headers"] == [["penstock-attempt", "2"], ["a", "1"], ["a", None]]
    assert found["decoded"]["inputs"] == {"x": {"datatype": "FP32", "shape": [1, 2]}}
    assert place.run("show", "--partition", "0", "--offset", "99").exit_code == 1


def test_a_replay_sends_the_request_as_it_was_and_counts_the_attempt(place: Place) -> None:
    report = place.json("replay", "--yes")
    assert (report["sent"], report["chosen"], report["next_offsets"]) == (3, 4, {"0": 2, "1": 2})
    assert [each["offset"] for each in report["skipped"]] == [1]
    sent = {message.key(): message for message in place.read(place.requests)}
    assert sorted(sent) == [b"key-0", b"key-1", b"key-2"]
    one = sent[b"key-1"]
    assert (one.partition(), one.value()) == (1, request("one", servable="ranker"))
    assert one.headers() == [("a", b"1"), ("a", None), ("penstock-attempt", b"3")]
    assert sent[b"key-0"].headers() == [("mine", b"\xfe"), ("penstock-attempt", b"2")]
    assert sent[b"key-0"].value() == b"\x00\xff garbage"


def test_a_dry_run_and_a_no_send_nothing(place: Place) -> None:
    result = place.run("replay", "--error", "model_error", "--dry-run")
    assert "would send 1 of 1 dead letters" in result.output
    refused = place.run("replay", input="n\n")
    assert refused.exit_code == 1
    assert "Send 3 requests" in refused.stderr
    assert place.read(place.requests) == []
    agreed = place.run("replay", "--error", "model_error", input="y\n")
    assert "sent 1 of 1 dead letters" in agreed.output
    assert len(place.read(place.requests)) == 1


def test_a_replay_goes_on_where_it_is_told_or_where_its_group_is(place: Place) -> None:
    first = place.run("replay", "--limit", "1", "--partition", "0", "--yes")
    assert "--from-offset 0:1" in first.output
    again = place.json("replay", "--partition", "0", "--from-offset", "0:1", "--yes", "--to", f"{place.name}.other")
    assert (again["sent"], again["next_offsets"]) == (1, {"0": 2})
    assert [message.key() for message in place.read(f"{place.name}.other")] == [b"key-2"]
    group = ("--group", f"{place.name}-replays", "--yes", "--rate", "100", "--error", "undecodable")
    assert place.json("replay", *group)["sent"] == 1
    assert place.json("replay", *group)["chosen"] == 0
    place.put(4, b"more", "undecodable")
    assert place.json("replay", *group)["sent"] == 1


def test_a_request_goes_only_to_topics_of_the_settings_unless_one_is_named(place: Place) -> None:
    place.put(4, b"x", "undecodable")
    place.requests = "somebody.elses"
    place.put(5, b"x", "undecodable")
    result = place.run("replay", "--partition", "1", "--from-offset", "1:2", "--yes")
    assert result.exit_code == 0
    assert "somebody.elses, which is no request topic of the settings" in result.output


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("list", "other"), "not among the routes"),
        (("list", "--since", "yesterday"), "neither a time"),
        (("list", "--error", "no_such"), "no such code"),
        (("list", "--topic", "no-such-topic"), "no-such-topic"),
        (("replay", "--yes", "--to", "no-such-topic"), "does not exist"),
        (("replay", "--from-offset", "7"), "PARTITION:OFFSET"),
    ],
)
def test_a_mistake_is_one_line_that_says_what(place: Place, arguments: tuple[str, ...], words: str) -> None:
    result = place.run(*arguments)
    assert result.exit_code in (1, 2)
    assert words in result.stderr
    assert "Traceback" not in result.output
