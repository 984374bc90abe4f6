"""Redis, asking: how many requests a second one client has taken by Redis, against Cluster Serving's own client.

And against one XADD after the other, written by hand. One row of two floats a request; every request must be in the
stream once. Cluster Serving's client is bigdl-serving as it is published, in an environment of its own; it is slow and
gets fewer requests: the rate is what counts. The requests written by hand are encoded by fastavro while they are sent,
the others by the client.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import redis

from benchmarks import accounting, environment, machine, report
from benchmarks.figures import each
from benchmarks.harness import alternate
from benchmarks.process import helper
from benchmarks.workload import PAIR, request_id
from pipeline.local.redis import LocalRedis

if TYPE_CHECKING:
    from pathlib import Path

    from benchmarks.harness import Harness

NAME: Final = "redis-enqueue"
REQUESTS: Final = 50_000
ROUNDS: Final = 5
TARGET: Final = 10.0
ENVIRONMENT: Final = "cluster_serving"
_TOPIC: Final = "requests"
_REHEARSAL: Final = 5_000


@dataclass(frozen=True)
class Asking:
    """One of the clients, a KIND of ``benchmarks.enqueue``; ``environment``: whose interpreter runs it, "" for ours.

    ``id_field`` and ``value_field``: where its entries have them. ``share``: of the requests that ours gets.
    """

    NAME: str
    DESCRIPTION: str
    id_field: bytes = b"key"
    value_field: bytes = b"value"
    share: float = 1.0
    environment: str = ""

    @property
    def python(self) -> str | Path:
        """The interpreter that runs it."""
        return environment.python(self.environment) if self.environment else sys.executable


class Measured(NamedTuple):
    """One client's round."""

    requests_per_s: float
    request_bytes: int
    account: accounting.Account


# The first two are those of the target.
RIVALS: Final = (
    Asking("penstock", "InputQueue.enqueue over Redis: up to 500 XADD a round trip, by a thread of its own"),
    Asking(
        "cluster_serving",
        "InputQueue.enqueue of bigdl-serving 2.4.0: Arrow in base64, one INFO and one XADD a request",
        b"uri",
        b"data",
        0.1,
        ENVIRONMENT,
    ),
    Asking("one_by_one", "redis-py + hiredis + fastavro by hand: one XADD a request"),
)


def run(harness: Harness, rounds: int, requests: int) -> report.Report:
    """Set up what is not there yet, measure all rounds and return the report; raises BenchmarkError."""
    environment.set_up(ENVIRONMENT)
    with LocalRedis() as server:
        for rival in RIVALS:  # not counted: the server is cold
            _measure(server.url, rival, min(_REHEARSAL, requests))
        measured = alternate(
            RIVALS,
            rounds,
            lambda rival: _measure(server.url, rival, requests),
            lambda _, one: f"{one.requests_per_s:>9,.0f} requests/s",
        )
    ours, _, by_hand = (rival.NAME for rival in RIVALS)
    return report.make(
        case=NAME,
        measure="requests that Redis has taken from one client",
        unit="requests/s",
        target=TARGET,
        better="higher",
        rounds=each(measured, lambda one: one.requests_per_s),
        versus=[report.Versus(ours, by_hand)],
        others={},
        descriptions={rival.NAME: rival.DESCRIPTION for rival in RIVALS},
        accounts=each(measured, lambda one: one.account),
        settings={
            "requests": {rival.NAME: count_for(rival, requests) for rival in RIVALS},
            "row": f"{PAIR.row_shape[0]} floats",
            "request_bytes": {name: several[-1].request_bytes for name, several in measured.items()},
            "client_versions": {ENVIRONMENT: environment.versions(ENVIRONMENT)},
            "persistence": "none",
        },
        machine=machine.describe("redis-server on this machine", str(harness.cores)),
    )


def count_for(rival: Asking, requests: int) -> int:
    """Return how many requests a client sends when ours sends ``requests``."""
    return max(1, int(requests * rival.share))


def _measure(url: str, rival: Asking, requests: int) -> Measured:
    count = count_for(rival, requests)
    rate: float = helper("benchmarks.enqueue", rival.NAME, url, _TOPIC, count, timeout_s=120, python=rival.python)
    client: Any = redis.Redis.from_url(url, protocol=2)  # its types do not know that what is not decoded is bytes
    taken = [fields for _, fields in client.xrange(_TOPIC)]
    client.flushdb()
    client.close()
    return Measured(
        requests_per_s=rate,
        request_bytes=len(taken[-1][rival.value_field]) if taken else 0,
        # Nobody answers here: what was asked must have arrived.
        account=accounting.account(
            map(request_id, range(count)), [fields[rival.id_field].decode() for fields in taken]
        ),
    )
