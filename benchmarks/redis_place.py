"""The requests of one measurement in a Redis, and the account of their results there."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Final

import redis

from benchmarks import collect, produce
from benchmarks.avro_records import AvroRecord

if TYPE_CHECKING:
    from collections.abc import Iterator

    from benchmarks import accounting
    from benchmarks.avro_records import Datum
    from benchmarks.place import Place

_AT_ONCE: Final = 1000


class RedisPlace:
    """Streams and hashes that have the names of a place's topics, at ``url``."""

    def __init__(self, url: str, place: Place) -> None:
        self._client = redis.Redis.from_url(url, protocol=2)
        self._place = place

    def produce(self, count: int) -> int:
        """Append ``count`` requests; return the size of one in bytes."""
        size = 0
        for several in _parts(produce.requests(count)):
            pipe = self._client.pipeline(transaction=False)
            for key, value in several:
                size = len(value)
                pipe.xadd(self._place.requests, {"value": value, "key": key})
            pipe.execute()
        return size

    def left(self) -> int:
        """Return how many requests are not answered: answers delete them."""
        return int(self._client.xlen(self._place.requests))

    def account(self, count: int) -> tuple[accounting.Account, int]:
        """Return the account of ``count`` requests, and the bytes of the largest result.

        A hash has one result, so that duplicates are not seen.
        """
        request_record, result_record = AvroRecord("PredictRequest"), AvroRecord("PredictResult")
        requests: list[Datum] = []
        results: list[Datum] = []
        size = 0
        for several in _parts(produce.requests(count)):
            pipe = self._client.pipeline(transaction=False)
            for key, value in several:
                requests.append(request_record.decode(value))
                pipe.hget(b"%b:%b" % (self._place.results.encode(), key), "value")
            values = [value for value in pipe.execute() if value is not None]
            size = max(size, *map(len, values), 0)
            results += map(result_record.decode, values)
        account = collect.account(requests, results)
        account["uncommitted"] = self.left()
        return account, size

    def close(self) -> None:
        """Delete all of it and close the connection."""
        self._client.flushdb()
        self._client.close()


def _parts(pairs: Iterator[tuple[bytes, bytes]]) -> Iterator[list[tuple[bytes, bytes]]]:
    while several := list(itertools.islice(pairs, _AT_ONCE)):
        yield several


def rate_after(ticks: list[tuple[float, int]], warm_up: int, count: int) -> float:
    """Return requests/s from the first look after the warm-up to the first at which all were answered; 0 for none.

    ``ticks``: (seconds, answered so far), both growing.
    """
    start = next((tick for tick in ticks if tick[1] >= warm_up), None)
    end = next((tick for tick in ticks if tick[1] >= count), None)
    if start is None or end is None or end[0] <= start[0]:
        return 0.0
    return (end[1] - start[1]) / (end[0] - start[0])
