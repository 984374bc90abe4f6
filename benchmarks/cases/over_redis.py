"""Redis: how fast one worker empties a backlog in a Redis stream, against the loop written by hand with redis-py.

As ``throughput``, with results as hashes that expire. How far a contender is, the length of the stream says, looked at
ten times a second; its warm-up, a tenth on top of what is asked for, is not counted.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final

from benchmarks import comparison, figures
from benchmarks.backlog import LIMIT_S, Backlog, Measured
from benchmarks.contenders import hand_written_redis, penstock
from benchmarks.contenders.hand_written_redis import HandWrittenRedis
from benchmarks.redis_place import RedisPlace, rate_after
from pipeline.local.redis import LocalRedis

if TYPE_CHECKING:
    from benchmarks import report
    from benchmarks.harness import Harness, Rival

NAME: Final = "redis"
REQUESTS: Final = 100_000
ROUNDS: Final = 5
TARGET: Final = 1.0


def run(harness: Harness, rounds: int, requests: int) -> report.Report:
    """Measure all rounds and return the report; raises BenchmarkError."""
    with LocalRedis() as server:
        description = "penstock worker --watch, connector redis, default settings"
        redis = {"redis": {"url": server.url}}
        ours = penstock.Worker(penstock.NAME, description, {"connector": "redis"}, redis)
        rivals: tuple[Rival, ...] = (ours, HandWrittenRedis(server.url))
        return comparison.compare(
            harness,
            rivals,
            rounds,
            requests,
            lambda rival, count: _measure(harness, server.url, rival, count),
            case=NAME,
            target=TARGET,
            measure="answers while a backlog in Redis is emptied",
            what="request",
            broker="redis-server on this machine",
            settings={
                "hand_written_batch": hand_written_redis.BATCH_SIZE,
                "results": "hashes that expire",
                "persistence": "none",
                "clock": "the harness's",
            },
        )


def _measure(harness: Harness, url: str, rival: Rival, count: int) -> Measured:
    warm_up = max(1, Backlog(count).warm_up)
    with harness.place(rival.NAME) as place:
        there = RedisPlace(url, place)
        size = there.produce(count)
        ticks: list[tuple[float, int]] = []
        cpu: list[tuple[int, float]] = []

        with harness.running(rival, place) as contender:

            def is_done() -> bool:
                done = count - there.left()
                ticks.append((time.perf_counter(), done))
                cpu.append((done, contender.cpu_s))
                return done >= count

            contender.wait(is_done, f"answering {count} requests", LIMIT_S)
            peak_mib = contender.peak_rss_mib
        account, result_bytes = there.account(count)
        there.close()
    return Measured(
        records_per_s=rate_after(ticks, warm_up, count),
        cpu_us=figures.cpu_us_per_record(cpu, warm_up) or 0.0,
        peak_rss_mib=peak_mib,
        account=account,
        request_bytes=size,
        result_bytes=result_bytes,
    )
