"""Redis, asking: how many requests a second one client has taken by Redis, against one XADD after the other.

Small tensors, one row a request; every request must be in the stream once. The rival's requests are encoded by fastavro
while they are sent, ours by the client.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import redis

from benchmarks import accounting, machine, model, report
from benchmarks.harness import alternate
from benchmarks.process import helper
from pipeline.local.redis import LocalRedis

if TYPE_CHECKING:
    from benchmarks.harness import Harness

NAME: Final = "redis-enqueue"
REQUESTS: Final = 50_000
ROUNDS: Final = 5
TARGET: Final = 3.0
_TOPIC: Final = "requests"
_REHEARSAL: Final = 5_000


@dataclass(frozen=True)
class Asking:
    """One of the two clients."""

    NAME: str
    DESCRIPTION: str


_RIVALS: Final = (
    Asking("penstock", "InputQueue.enqueue over Redis: up to 500 XADD a round trip, by a thread of its own"),
    Asking("one_by_one", "redis-py + hiredis + fastavro by hand: one XADD a request"),
)


def run(harness: Harness, rounds: int, requests: int) -> report.Report:
    """Measure all rounds and return the report; raises BenchmarkError."""
    with LocalRedis() as server:
        for rival in _RIVALS:  # not counted: the server is cold
            _measure(server.url, rival, min(_REHEARSAL, requests))
        measured = alternate(
            _RIVALS,
            rounds,
            lambda rival: _measure(server.url, rival, requests),
            lambda _, one: f"{one[0]:>9,.0f} requests/s",
        )
    return report.make(
        case=NAME,
        measure="requests that Redis has taken from one client",
        unit="requests/s",
        target=TARGET,
        better="higher",
        rounds={name: [rate for rate, _ in several] for name, several in measured.items()},
        others={},
        descriptions={rival.NAME: rival.DESCRIPTION for rival in _RIVALS},
        accounts={name: [account for _, account in several] for name, several in measured.items()},
        settings={"requests": requests, "features": model.FEATURES, "persistence": "none"},
        machine=machine.describe("redis-server on this machine", str(harness.cores)),
    )


def _measure(url: str, rival: Asking, count: int) -> tuple[float, accounting.Account]:
    rate: float = helper("benchmarks.enqueue", rival.NAME, url, _TOPIC, count, timeout_s=120)
    client = redis.Redis.from_url(url, protocol=2)
    taken = [fields[b"key"].decode() for _, fields in client.xrange(_TOPIC)]
    client.flushdb()
    client.close()
    # Nobody answers here: what was asked must have arrived.
    return rate, accounting.account([f"request-{number:09d}" for number in range(count)], taken)
