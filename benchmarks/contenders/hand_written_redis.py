"""The rival over Redis: the loop that an expert writes by hand with redis-py, hiredis, fastavro and OpenVINO.

It imports nothing of ours but the codec and the model call of ``hand_written``. Its guarantee is the one that a MULTI
gives: results, XACK and XDEL of a batch together, so that a request is answered at least once. What it leaves out: dead
workers' requests, a reconnect, a check whether another worker has answered meanwhile, and what ``hand_written`` does.

Its settings are the best of those tried (docs/performance.md): one XACK and one XDEL for all entries of a batch.
"""

from __future__ import annotations

import json
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable

    from benchmarks.contenders.hand_written import Codec, Floats
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
        from benchmarks import model  # noqa: PLC0415  # for the harness only

        settings = {
            "url": self._url,
            "group": place.group,
            "requests": place.requests,
            "results": place.results,
            "model": str(place.models / "1" / "model.xml"),
            "openvino": model.OPENVINO,
            "schemas": str(Path(__file__).parent.parent.parent / "schemas"),
        }
        return [sys.executable, "-m", "benchmarks.contenders.hand_written_redis", json.dumps(settings)]


def serve(client: Any, settings: dict[str, Any], codec: Codec, predict: Callable[[Floats], Floats]) -> None:
    """Answer requests until SIGTERM."""
    stopped: list[int] = []
    signal.signal(signal.SIGTERM, lambda number, _frame: stopped.append(number))
    stream, group, results = settings["requests"], settings["group"], settings["results"].encode()
    while not stopped:
        read = client.xreadgroup(group, "hand-written", {stream: ">"}, count=BATCH_SIZE, block=200)
        if not read:
            continue
        entries = read[0][1]
        requests = [codec.decode(fields[b"value"]) for _, fields in entries]
        rows = np.frombuffer(b"".join([data for _, data in requests]), "<f4").reshape(-1, 64)
        data = predict(rows).tobytes()
        pipe = client.pipeline(transaction=True)
        for number, ((_, fields), (id_, _)) in enumerate(zip(entries, requests, strict=True)):
            key = b"%b:%b" % (results, fields[b"key"])
            pipe.hset(key, "value", codec.encode(id_, data[40 * number : 40 * number + 40]))
            pipe.expire(key, TTL_S)
        ids = [id_ for id_, _ in entries]
        pipe.xack(stream, group, *ids)
        pipe.xdel(stream, *ids)
        pipe.execute()


def main() -> None:
    """Read the settings, load, make the group, serve."""
    import redis  # noqa: PLC0415  # the harness reads this module's names without it

    from benchmarks.contenders.hand_written import Codec, load_model  # noqa: PLC0415  # likewise

    settings = json.loads(sys.argv[1])
    predict = load_model(settings["model"], settings["openvino"])
    client = redis.Redis.from_url(settings["url"], protocol=2)
    client.xgroup_create(settings["requests"], settings["group"], "0", mkstream=True)
    serve(client, settings, Codec(Path(settings["schemas"])), predict)
    client.close()


if __name__ == "__main__":
    main()
