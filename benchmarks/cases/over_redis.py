"""Redis: how fast one worker empties a backlog in a Redis stream, against the loop written by hand with redis-py.

As ``throughput``, with results as hashes that expire. How far a contender is, the length of the stream says, looked at
ten times a second; its warm-up, a tenth on top of what is asked for, is not counted.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final

from benchmarks import figures, machine, model, report
from benchmarks.cases.backlog import LIMIT_S, Measured
from benchmarks.contenders import hand_written_redis
from benchmarks.contenders.hand_written_redis import HandWrittenRedis
from benchmarks.contenders.over_redis import OverRedis
from benchmarks.harness import alternate
from benchmarks.redis_place import RedisPlace, rate_after
from pipeline.local.redis import LocalRedis

if TYPE_CHECKING:
    from benchmarks.harness import Harness, Rival

NAME: Final = "redis"
REQUESTS: Final = 100_000
ROUNDS: Final = 5
TARGET: Final = 1.0
_REHEARSAL: Final = 10_000


def run(harness: Harness, rounds: int, requests: int) -> report.Report:
    """Measure all rounds and return the report; raises BenchmarkError."""
    with LocalRedis() as server:
        rivals: tuple[Rival, ...] = (OverRedis(server.url), HandWrittenRedis(server.url))
        warm_up = requests // 10
        for rival in rivals:  # not counted: the server is cold
            _measure(harness, server.url, rival, min(_REHEARSAL, requests))
        measured = alternate(
            rivals,
            rounds,
            lambda rival: _measure(harness, server.url, rival, requests + warm_up),
            lambda _, one: f"{one.records_per_s:>9,.0f} requests/s  {one.cpu_us:>6.1f} CPU us a request",
        )
    return report.make(
        case=NAME,
        measure="answers while a backlog in Redis is emptied",
        unit="requests/s",
        target=TARGET,
        better="higher",
        rounds={name: [one.records_per_s for one in several] for name, several in measured.items()},
        others={
            "CPU microseconds a request": {name: [one.cpu_us for one in several] for name, several in measured.items()}
        },
        descriptions={rival.NAME: rival.DESCRIPTION for rival in rivals},
        accounts={name: [one.account for one in several] for name, several in measured.items()},
        settings={
            "requests": requests,
            "warm_up_requests": warm_up,
            "model": f"{model.FEATURES}->{model.HIDDEN}->{model.CLASSES} MLP, one row a request",
            "openvino": dict(model.OPENVINO),
            "hand_written_batch": hand_written_redis.BATCH_SIZE,
            "request_bytes": measured[rivals[0].NAME][-1].request_bytes,
            "results": "hashes that expire",
            "persistence": "none",
            "clock": "the harness's",
        },
        machine=machine.describe("redis-server on this machine", str(harness.cores)),
    )


def _measure(harness: Harness, url: str, rival: Rival, count: int) -> Measured:
    warm_up = count // 11
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
        account = there.account(count)
        there.close()
    return Measured(
        records_per_s=rate_after(ticks, max(1, warm_up), count),
        cpu_us=figures.cpu_us_per_record(cpu, max(1, warm_up)) or 0.0,
        peak_rss_mib=peak_mib,
        account=account,
        request_bytes=size,
        result_bytes=0,
    )
