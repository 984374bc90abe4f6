"""`penstock dead-letters` of a route on a real Redis."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from connectors.redis.dead_letters import DeadLetters
from connectors.redis.formats import entries_of
from pipeline.commands import main
from pipeline.connector import Answer, Record
from pipeline.local.redis import LocalRedis
from pipeline.local.redis_cluster import LocalRedisCluster
from pipeline.records import Error
from pipeline.redis_access import connect
from pipeline.settings import RedisSettings, load
from pipeline.testing.fakes import FakeClock
from tests.integration.dead_letters import START_MS, Letters, request
from tests.integration.redis_members import RedisRoute, answer, poll

DOCS = Path(__file__).parents[2] / "docs" / "redis.md"
[LETTERS_ACL] = [line for line in DOCS.read_text().splitlines() if line.startswith("user letters on ")]
pytestmark = pytest.mark.usefixtures("no_variables")


class Streams(Letters):
    """A settings file with one route on Redis, and what lies in its streams."""

    def __init__(self, folder: Path, url: str, name: str, requests: str = "", **redis: Any) -> None:
        self.name, self.config = name, folder / "penstock.yaml"
        self.requests, self.letters = requests or f"{name}.requests", f"dlq.{requests or name}"
        tree = {
            "redis": {"url": url},
            "servables": {name: {"base_path": "models"}},
            "routes": {
                name: {
                    "connector": "redis",
                    "request_topic": self.requests,
                    "result_topic": f"{self.requests}.results",
                    "dead_letter_topic": self.letters,
                    "redis": redis,
                }
            },
        }
        self.config.write_text(json.dumps(tree))
        self.client = connect(RedisSettings(url=url), "test")

    def put(self, n: int, code: str, *fields: bytes) -> str:
        """Put a request aside as a worker does, n seconds after the start; return the id of its letter."""
        route = load(self.config).routes[self.name]
        record = entries_of(route).record(b"%d-%d" % (START_MS + n, n), fields)
        clock = FakeClock(START_MS + n * 1000)
        command = DeadLetters(route, "w1", clock).command(record, Error(code, f"why {n}", code == "not_ready"))
        found: bytes = self.client.execute_command(*command)
        return found.decode()

    def read(self, stream: str) -> list[list[bytes]]:
        """Return the fields of all that a stream holds, names and values in turns."""
        entries = self.client.execute_command("XREAD COUNT", 1000, "STREAMS", stream, "0", **self._at(stream))
        return [fields for _, fields in entries[0][1]] if entries else []

    def _at(self, stream: str) -> dict[str, Any]:
        at = getattr(self.client, "get_node_from_key", None)
        return {"target_nodes": at(stream)} if at else {}


@pytest.fixture
def streams(tmp_path: Path, redis: Any, topic_name: str) -> Iterator[Streams]:
    it = Streams(tmp_path, redis.url, topic_name)
    yield it
    it.client.close()


@pytest.fixture
def ids(streams: Streams) -> list[str]:
    """The ids of four letters, the oldest first."""
    return [
        streams.put(0, "undecodable", b"value", b"\x00\xff garbage", b"key", b"key-0", b"mine", b"\xfe"),
        streams.put(1, "model_error", b"key", b"key-1", b"a", b"1", b"value", request("one", "ranker"), b"a", b"2"),
        streams.put(2, "poison_record", b"value", request("two"), b"penstock-attempt", b"2"),
        streams.put(3, "undecodable", b"value", b"x", b"value", b"y"),
    ]


def test_what_is_listed_is_what_lies_there_the_oldest_first(streams: Streams, ids: list[str]) -> None:
    found = streams.json("list")
    assert [each["id"] for each in found] == ids
    assert [each["error"] for each in found] == ["undecodable", "model_error", "poison_record", "undecodable"]
    assert (found[1]["servable"], found[2]["servable"]) == ("ranker", streams.name)
    assert found[1]["request"] == {"topic": streams.requests, "id": f"{START_MS + 1}-1", "timestamp_ms": START_MS + 1}
    assert (found[2]["attempts"], found[1]["key"], found[2]["key"]) == (2, "key-1", None)
    assert "partition" not in found[0]
    table = streams.run("list", streams.name).output
    assert all(text in table for text in (*ids, f"{streams.requests}@{START_MS + 1}-1"))


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (("--error", "model_error", "--error", "poison_record"), [1, 2]),
        (("--since", "2023-11-14T22:13:21", "--until", "2023-11-14T22:13:23"), [1, 2]),
        (("--servable", "ranker"), [1]),
        (("--key", "hex:6b65792d31"), [1]),
        (("--limit", "1"), [3]),
        (("--since", "1h"), []),
    ],
)
def test_filters_choose(streams: Streams, ids: list[str], arguments: tuple[str, ...], expected: list[int]) -> None:
    assert [ids.index(each["id"]) for each in streams.json("list", *arguments)] == expected
    assert [each["id"] for each in streams.json("list", "--id", ids[2])] == [ids[2]]


def test_a_letter_is_shown_decoded_where_it_can_be_and_in_hexadecimal_where_not(
    streams: Streams, ids: list[str]
) -> None:
    text = streams.run("show", "--id", ids[1]).output
    for words in (ids[1], "model_error", "why 1", "one", "x: FP32 [1, 2]", "a: 1", f"{streams.requests}@"):
        assert words in text
    text = streams.run("show", "--id", ids[0]).output
    for words in ("00ff2067 61726261 6765", "garbage", "mine: hex:fe"):
        assert words in text
    [found] = streams.json("show", "--error", "model_error")
    assert found["headers"] == [["a", "1"], ["a", "2"]]
    assert found["decoded"]["inputs"] == {"x": {"datatype": "FP32", "shape": [1, 2]}}
    assert streams.run("show", "--id", "5-0").exit_code == 1


def test_a_replay_appends_the_fields_as_they_came_and_leaves_the_letters(streams: Streams, ids: list[str]) -> None:
    report = streams.json("replay", "--yes")
    behind = ids[3].replace("-0", "-1")
    assert report == {"sent": 4, "chosen": 4, "would_send": None, "skipped": [], "next_id": behind}
    assert streams.read(streams.requests) == [
        [b"value", b"\x00\xff garbage", b"key", b"key-0", b"mine", b"\xfe", b"penstock-attempt", b"2"],
        [b"key", b"key-1", b"a", b"1", b"value", request("one", "ranker"), b"a", b"2", b"penstock-attempt", b"2"],
        [b"value", request("two"), b"penstock-attempt", b"3"],
        [b"value", b"x", b"value", b"y", b"penstock-attempt", b"2"],
    ]
    assert [each["id"] for each in streams.json("list")] == ids


def test_a_dry_run_and_a_no_send_nothing(streams: Streams, ids: list[str]) -> None:
    assert "would send 1 of 1 dead letters" in streams.run("replay", "--id", ids[0], "--dry-run").output
    refused = streams.run("replay", input="n\n")
    assert (refused.exit_code, "Send 4 requests" in refused.stderr) == (1, True)
    assert streams.read(streams.requests) == []
    assert "sent 1 of 1 dead letters" in streams.run("replay", "--id", ids[0], input="y\n").output
    assert len(streams.read(streams.requests)) == 1


def test_a_replay_goes_on_where_it_is_told_or_where_its_group_is(streams: Streams, ids: list[str]) -> None:
    first = streams.run("replay", "--limit", "1", "--yes")
    behind = ids[0].replace("-0", "-1")
    assert f"--from-id {behind}" in first.output
    assert streams.json("replay", "--from-id", behind, "--yes", "--dry-run")["would_send"] == 3
    assert streams.json("replay", "--from-id", ids[3], "--yes", "--dry-run")["would_send"] == 1
    group = ("--group", f"{streams.name}-replays", "--yes", "--rate", "100", "--error", "undecodable")
    assert streams.json("replay", *group, "--limit", "1")["sent"] == 1
    assert streams.json("replay", *group)["sent"] == 1
    assert streams.json("replay", *group)["chosen"] == 0
    streams.put(4, "undecodable", b"value", b"more")
    assert streams.json("replay", *group)["sent"] == 1
    assert [fields[:2] for fields in streams.read(streams.requests)][1:] == [
        [b"value", b"\x00\xff garbage"], [b"value", b"x"], [b"value", b"more"],
    ]  # fmt: skip


def test_a_full_request_stream_takes_no_more_loses_nothing_and_the_replay_goes_on_where_it_was_refused(
    tmp_path: Path, redis: Any, topic_name: str
) -> None:
    streams = Streams(tmp_path, redis.url, topic_name, max_length=3)
    ids = [streams.put(n, "model_error", b"value", b"%d" % n) for n in range(4)]
    streams.client.xadd(streams.requests, {"value": "waits"})
    refused = streams.run("replay", "--yes")
    behind = ids[1].replace("-0", "-1")
    assert refused.exit_code == 1
    for words in (ids[2], "3 requests wait", "max_length", "2 were sent", f"--from-id {behind}"):
        assert words in refused.stderr
    assert [fields[1] for fields in streams.read(streams.requests)] == [b"waits", b"0", b"1"]
    streams.client.delete(streams.requests)
    assert streams.json("replay", "--yes", "--from-id", behind)["sent"] == 2
    assert [fields[1] for fields in streams.read(streams.requests)] == [b"2", b"3"]
    streams.client.close()


def test_what_a_worker_puts_aside_is_replayed_and_answered(tmp_path: Path, redis: Any, topic_name: str) -> None:
    """From the connector that writes the letter to the connector that reads the request again."""
    streams = Streams(tmp_path, redis.url, topic_name)
    route = RedisRoute(redis.url, topic_name, request_topic=streams.requests, dead_letter_topic=streams.letters)
    connector = route.opened("w1")
    route.produce([b"bad", b"good"], key=b"k", mine=b"1")

    def judge(record: Record) -> Answer:
        reason = Error("model_error", "why", retriable=False) if record.value == b"bad" else None
        return Answer(record.value, record.key, (), dead_letter=reason)

    answer(connector, poll(connector, 2), judge)
    assert streams.json("replay", "--yes")["sent"] == 1
    [again] = poll(connector, 1)
    assert (again.value, again.key, dict(again.headers)) == (b"bad", b"k", {"mine": b"1", "penstock-attempt": b"2"})
    answer(connector, [again])
    connector.close(5)
    assert route.is_done
    route.close()
    streams.client.close()


def test_a_request_goes_only_to_streams_of_the_settings_unless_one_that_is_there_is_named(streams: Streams) -> None:
    streams.client.xadd(
        streams.letters, {"value": "v", "penstock-error-code": "e", "__connect.errors.topic": "x.other"}
    )
    result = streams.run("replay", "--yes")
    assert (result.exit_code, "x.other, which is no request topic of the settings" in result.output) == (0, True)
    refused = streams.run("replay", "--yes", "--to", f"{streams.name}.none")
    assert (refused.exit_code, "does not exist" in refused.stderr) == (1, True)
    streams.client.xadd(f"{streams.name}.other", {"value": "w"})
    assert streams.json("replay", "--yes", "--to", f"{streams.name}.other")["sent"] == 1
    assert len(streams.read(f"{streams.name}.other")) == 2


def test_a_route_without_letters_and_one_that_is_not_in_the_settings(
    streams: Streams, redis: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert "has no such dead letter" in streams.run("list").stderr
    assert streams.json("replay", "--yes")["next_id"] is None
    monkeypatch.chdir(tmp_path / "..")
    streams.client.xadd(f"{streams.name}.requests-dlt", {"value": "v"})
    result = CliRunner().invoke(
        main, ["dead-letters", "list", streams.name, "--json", "--bootstrap", redis.url, "-c", str(_empty(tmp_path))]
    )
    assert [each["servable"] for each in json.loads(result.stdout)] == [streams.name]


def _empty(folder: Path) -> Path:
    path = folder / "empty.yaml"
    path.write_text("{}")
    return path


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("list", "--partition", "0"), "use --id"),
        (("show", "--offset", "3"), "use --id"),
        (("replay", "--from-offset", "0:17"), "use --from-id"),
        (("list", "--id", "17"), "ID of an entry"),
        (("replay", "--from-id", "0:17"), "ID of an entry"),
    ],
)
def test_a_mistake_is_one_line_that_says_what(streams: Streams, arguments: tuple[str, ...], words: str) -> None:
    result = streams.run(*arguments)
    assert result.exit_code == 2
    assert words in result.stderr


def test_a_route_whose_redis_is_not_named_is_one_line(tmp_path: Path) -> None:
    path = tmp_path / "penstock.yaml"
    path.write_text("servables: {m: {base_path: models}}\nroutes: {m: {connector: redis}}\n")
    for command in (("dead-letters", "list"), ("dead-letters", "replay", "--yes"), ("check",)):
        result = CliRunner().invoke(main, [*command, "-c", str(path)])
        assert (result.exit_code, "redis.url" in result.stderr) == (1, True)


def test_a_key_that_is_no_stream_and_a_redis_that_is_away_are_one_line(streams: Streams) -> None:
    streams.client.set(streams.letters, "x")
    result = streams.run("list")
    assert (result.exit_code, "holds a string, not a stream" in result.stderr) == (1, True)
    streams.config.write_text(
        streams.config.read_text().replace(
            json.loads(streams.config.read_text())["redis"]["url"], "redis://127.0.0.1:1"
        )
    )
    result = streams.run("list")
    assert (result.exit_code, "is it running?" in result.stderr, "Traceback" in result.output) == (1, True, False)


def test_the_user_of_the_page_may_do_all_of_it(tmp_path: Path) -> None:
    with LocalRedis(config=[LETTERS_ACL]) as server:
        streams = Streams(tmp_path, server.url, "digits", max_length=10)
        # the names of the page
        text = streams.config.read_text().replace("dlq.digits", "digits.requests-dlt")
        streams.config.write_text(text)
        for n in range(2):
            streams.put(n, "model_error", b"value", b"v")
        url = server.url.replace("redis://", "redis://letters:secret@")
        streams.config.write_text(text.replace(server.url, url))
        assert len(streams.json("list")) == 2
        assert streams.json("replay", "--yes", "--group", "g")["sent"] == 2
        assert streams.json("replay", "--yes", "--group", "g")["chosen"] == 0
        denied = streams.run("list", "--topic", "other")
        assert (denied.exit_code, "lacks a permission" in denied.stderr, "secret" in denied.stderr) == (1, True, False)
        streams.client.close()


def test_letters_in_a_cluster(tmp_path: Path) -> None:
    with LocalRedisCluster() as cluster:
        for name in ("a", "b", "c"):  # on a node each
            streams = Streams(tmp_path, cluster.url, name, requests=f"{{{name}}}.requests", max_length=3)
            for n in range(4):
                streams.put(n, "model_error", b"value", b"%d" % n)
            assert len(streams.json("list")) == 4
            assert streams.json("replay", "--yes", "--group", "g", "--limit", "2")["sent"] == 2
            refused = streams.run("replay", "--yes", "--group", "g")
            assert (refused.exit_code, "1 were sent" in refused.stderr) == (1, True)
            assert [fields[1] for fields in streams.read(streams.requests)] == [b"0", b"1", b"2"]
            streams.client.close()
