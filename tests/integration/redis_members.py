"""A route's streams on a real Redis, connectors on it, and what went in and came out."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec

from connectors.redis import RedisConnector
from pipeline.connector import Answer, Connector, Record
from pipeline.local.redis import LocalRedis
from pipeline.redis_access import connect
from pipeline.settings import RedisRouteSettings, RedisSettings, RouteSettings
from tests.integration.members import echo, refuse, wait_for

# Short, so that tests of what happens after it need not wait; long enough for a busy machine to say that it is there.
CLAIM_AFTER_S = 2.0


class RedisRoute:
    """The streams of one route. Results are in a stream, so that a second one would be seen."""

    def __init__(self, url: str, name: str, *, redis: dict[str, Any] | None = None, **settings: Any) -> None:
        self.redis = RedisSettings(url=url)
        self.client = connect(self.redis, "test")
        self.settings = RouteSettings(
            **{
                "connector": "redis",
                "servable": "echo",
                "request_topic": f"{name}.q",
                "result_topic": f"{name}.r",
                "dead_letter_topic": f"{name}.d",
                "group": name,
                "redis": RedisRouteSettings(**{"results": "stream", "claim_after_s": CLAIM_AFTER_S, **(redis or {})}),
                **settings,
            }
        )

        self._made: list[RedisConnector] = []

    def connector(self, name: str, **redis: Any) -> RedisConnector:
        made = RedisConnector(self.settings, msgspec.structs.replace(self.redis, **redis), name)
        self._made.append(made)
        return made

    def close(self) -> None:
        """Close every connector that was made and not closed, and the client."""
        for connector in self._made:
            connector.close(0.2)
        self.client.close()

    def opened(self, name: str, **redis: Any) -> RedisConnector:
        connector = self.connector(name, **redis)
        connector.open()
        return connector

    def produce(self, values: Sequence[bytes], **fields: bytes) -> list[bytes]:
        """Append requests, and return the ids of their entries."""
        pipe = self.client.pipeline(transaction=False)
        for value in values:
            pipe.xadd(self.settings.request_topic, {"value": value, **fields})
        return list(pipe.execute())

    def read(self, topic: str) -> list[dict[bytes, bytes]]:
        return [fields for _, fields in self.client.xrange(topic)]

    @property
    def results(self) -> list[bytes]:
        return [fields[b"value"] for fields in self.read(self.settings.result_topic)]

    @property
    def letters(self) -> list[dict[bytes, bytes]]:
        return self.read(self.settings.dead_letter_topic)

    @property
    def consumers(self) -> set[bytes]:
        return {each["name"] for each in self.client.xinfo_consumers(self.settings.request_topic, self.settings.group)}

    @property
    def is_done(self) -> bool:
        """Whether no request waits or is in work."""
        pending = self.client.xpending(self.settings.request_topic, self.settings.group)["pending"]
        return not pending and not self.client.xlen(self.settings.request_topic)


@contextmanager
def sentinel_of(master: LocalRedis) -> Iterator[str]:
    """Yield the URL of a service whose master this is; its sentinel knows one replica, and fails over soon."""
    watch = f"sentinel monitor orders 127.0.0.1 {master.port} 1"
    times = ["sentinel down-after-milliseconds orders 500", "sentinel failover-timeout orders 3000"]
    with LocalRedis(is_sentinel=True, config=[watch, *times]) as sentinel:
        asked = connect(RedisSettings(url=sentinel.url), "test")
        wait_for("the sentinel knows the replica", lambda: asked.sentinel_slaves("orders"))
        asked.close()
        yield f"redis+sentinel://127.0.0.1:{sentinel.port}/orders"


def poll(connector: Connector, count: int = 1, *, most: int = 100) -> list[Record]:
    """Poll until there are so many records."""
    records: list[Record] = []

    def enough() -> bool:
        records.extend(connector.poll(most, 0.1))
        return len(records) >= count

    wait_for(f"{count} records", enough)
    return records


def answer(connector: Connector, records: Sequence[Record], make: Callable[[Record], Answer] = echo) -> None:
    """Answer records, and wait until Redis has the answers."""
    connector.answer(records, [make(record) for record in records], refuse).result(20)


def attend(connector: Connector, for_s: float) -> None:
    """Poll as a full route does."""
    until_s = time.monotonic() + for_s
    while time.monotonic() < until_s:
        assert not connector.poll(0, 0.05)


def worker_commands() -> str:
    """Return what docs/redis.md lets a worker's user run, as rules of an ACL."""
    text = (Path(__file__).parents[2] / "docs" / "redis.md").read_text()
    [line] = [line for line in text.splitlines() if line.startswith("user worker ")]
    return " ".join(word for word in line.split() if word.startswith("+"))
