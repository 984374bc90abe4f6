"""The rival over Redis: the loop that an expert writes by hand with redis-py, hiredis, fastavro and OpenVINO.

It imports nothing of ours but what ``hand_written`` does with a batch (``work``). Its guarantee is the one that a MULTI
gives: results, XACK and XDEL of a batch together, so that a request is answered at least once. What it leaves out: dead
workers' requests, a reconnect, a check whether another worker has answered meanwhile, and what ``hand_written`` does.

Its settings are the best of those tried (docs/performance.md): one XACK and one XDEL for all entries of a batch.
"""

from __future__ import annotations

import json
import signal
import sys
from typing import TYPE_CHECKING, Any

from benchmarks.contenders import work

if TYPE_CHECKING:
    from pathlib import Path

    from benchmarks.place import Place

BATCH_SIZE = 512
TTL_S = 3600


class HandWrittenRedis:
    """See Rival."""

    NAME = "hand_written"
    DESCRIPTION = "redis-py + hiredis + fastavro + OpenVINO by hand: XREADGROUP, one MULTI a batch"

    def __init__(self, url: str) -> None:
        self._url = url

    def command(self, place: Place) -> list[str | Path]:
        """Return the command that runs this file."""
        settings = {**work.settings_for(place), "url": self._url}
        return [sys.executable, "-m", "benchmarks.contenders.hand_written_redis", json.dumps(settings)]


def serve(client: Any, settings: dict[str, Any], answer: work.Work) -> None:
    """Answer requests until SIGTERM."""
    stopped: list[int] = []
    signal.signal(signal.SIGTERM, lambda number, _frame: stopped.append(number))
    stream, group, results = settings["requests"], settings["group"], settings["results"].encode()
    while not stopped:
        read = client.xreadgroup(group, "hand-written", {stream: ">"}, count=BATCH_SIZE, block=200)
        if not read:
            continue
        entries = read[0][1]
        values = answer([fields[b"value"] for _, fields in entries])
        pipe = client.pipeline(transaction=True)
        for (_, fields), value in zip(entries, values, strict=True):
            key = b"%b:%b" % (results, fields[b"key"])
            pipe.hset(key, "value", value)
            pipe.expire(key, TTL_S)
        ids = [id_ for id_, _ in entries]
        pipe.xack(stream, group, *ids)
        pipe.xdel(stream, *ids)
        pipe.execute()


def main() -> None:
    """Read the settings, load, make the group, serve."""
    import redis  # noqa: PLC0415  # the harness reads this module's names without it

    settings = json.loads(sys.argv[1])
    answer = work.Work(settings)
    client = redis.Redis.from_url(settings["url"], protocol=2)
    client.xgroup_create(settings["requests"], settings["group"], "0", mkstream=True)
    serve(client, settings, answer)
    client.close()


if __name__ == "__main__":
    main()
