"""The bare registry, a process of its own: ``python -m benchmarks.lookups SECONDS``; no model, no broker.

Prints how many handles a second are taken and given back, by one thread and by four, at rest and while versions are
swapped, one each millisecond or as often as the interpreter's lock permits, and how long 1,000 streams with trivial
loaders take from the first aspiration to the last AVAILABLE.
"""

from __future__ import annotations

import json
import sys
import threading
import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, Final

from pipeline.clock import SystemClock
from pipeline.registry import policy
from pipeline.registry.manager import Manager
from pipeline.registry.servable import ServableId, Signature
from pipeline.registry.source import Aspired
from pipeline.registry.states import EventBus

if TYPE_CHECKING:
    from pipeline.registry.loader import Loader
    from pipeline.tensors import Array

STREAMS: Final = 1000
_PERIOD_S: Final = 0.001
_TIMEOUT_S: Final = 60.0


class Trivial:
    """A loader, and what it loads."""

    signatures: Mapping[str, Signature] = {}

    def estimate_bytes(self) -> int | None:
        """See Loader."""
        return None

    def load(self) -> Trivial:
        """See Loader."""
        return self

    def unload(self) -> None:
        """See Loader."""

    def predict(self, signature: str, inputs: Mapping[str, Array]) -> Mapping[str, Array]:  # noqa: ARG002  # a contract
        """See Servable."""
        return inputs


def lookups(manager: Manager, threads: int, seconds: float, period_s: float | None) -> tuple[float, float]:
    """Return handles a second, of all threads together, and swaps a second; these only where ``period_s`` is given."""
    stopped = threading.Event()
    counts: list[int] = []
    swaps = 0

    def look_up() -> None:
        count = 0
        while not stopped.is_set():
            for _ in range(100):
                manager.acquire("swapped").release()
            count += 100
        counts.append(count)

    workers = [threading.Thread(target=look_up) for _ in range(threads)]
    started_s = time.perf_counter()
    for worker in workers:
        worker.start()
    while (now_s := time.perf_counter()) < started_s + seconds:
        if period_s is not None:
            aspire(manager, "swapped")
            swaps += 1
        time.sleep(seconds if period_s is None else max(0.0, now_s + period_s - time.perf_counter()))
    stopped.set()
    for worker in workers:
        worker.join()
    took_s = time.perf_counter() - started_s
    return sum(counts) / took_s, swaps / took_s


def aspire(manager: Manager, stream: str) -> None:
    """Aspire to a version that no call before has named."""
    number = time.monotonic_ns()
    item: Aspired[Loader] = Aspired(ServableId(stream, number), Trivial())
    manager.set_aspired(stream, [item], {}, number)


def streams_s(manager: Manager) -> float:
    """Return the seconds from the first of 1,000 aspirations to the last AVAILABLE."""
    names = [f"stream-{number}" for number in range(STREAMS)]
    started_s = time.perf_counter()
    for name in names:
        aspire(manager, name)
    unsettled = manager.wait_settled(names, _TIMEOUT_S)
    took_s = time.perf_counter() - started_s
    if unsettled:
        raise TimeoutError(f"{len(unsettled)} of {STREAMS} streams are not settled after {_TIMEOUT_S:g} s")
    return took_s


def main(seconds: float) -> None:
    """Measure and print."""
    with ThreadPoolExecutor(2) as loads, ThreadPoolExecutor(1) as unloads:
        manager = Manager(policy.availability_preserving, loads, unloads, EventBus(), SystemClock())
        aspire(manager, "swapped")
        manager.wait_settled(["swapped"], _TIMEOUT_S)
        figures: dict[str, Any] = {"lookups_per_s": {}, "swaps_per_s": {}}
        for threads in (1, 4):
            for period_s, what in ((None, "at rest"), (_PERIOD_S, "swapped")):
                name = f"{threads} thread{'s' * (threads > 1)}, {what}"
                per_s, swaps_per_s = lookups(manager, threads, seconds, period_s)
                figures["lookups_per_s"][name] = per_s
                figures["swaps_per_s"][name] = swaps_per_s
        figures["streams_s"] = streams_s(manager)
        manager.close(_TIMEOUT_S)
    print(json.dumps(figures))


if __name__ == "__main__":
    main(float(sys.argv[1]))
