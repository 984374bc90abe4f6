"""Requests to a route over Redis at a steady pace, and their results, which stand in a stream: as Traffic."""

from __future__ import annotations

import time
from typing import Any

from pipeline.records import PredictRequest
from pipeline.redis_access import connect
from pipeline.settings import RedisSettings, RouteSettings
from tests.acceptance.traffic import CODEC, Traffic


class RedisTraffic(Traffic):
    def __init__(self, redis: RedisSettings, route: RouteSettings, *, per_s: float = 500) -> None:
        super().__init__("", route, per_s=per_s)
        self._redis = redis

    def _send(self) -> None:
        client = connect(self._redis, "sender")
        started, count = time.monotonic(), 0
        while self._is_sending.is_set():
            pipe = client.pipeline(transaction=False)
            while count < (time.monotonic() - started) * self._per_s:
                id_ = f"r{count}"
                value = CODEC.encode_request(PredictRequest(id_, inputs=(self._tensor,)))
                self.sent[id_] = time.time()
                pipe.xadd(self._route.request_topic, {"value": value, "key": id_})
                count += 1
            pipe.execute()
            self._is_over.wait(0.005)
        client.close()

    def _collect(self) -> None:
        client: Any = connect(self._redis, "collector")
        topic, last = self._route.result_topic, b"0-0"
        self._reading.set()
        while not self._is_over.is_set():
            for _, entries in client.xread({topic: last}, count=500, block=100):
                for last, fields in entries:  # where the next read begins
                    result = CODEC.decode_result(fields[b"value"])
                    at = int(last.partition(b"-")[0]) / 1000
                    self.results.setdefault(result.id, []).append((at, result))
        client.close()
