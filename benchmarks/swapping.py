"""Swaps of one model, a process of its own: ``python -m benchmarks.swapping RUNTIME NETWORK VERSION SWAPS``; no broker.

The registry of a worker is told of version 1, 2, 3 and so on, all of them the same files; each answers once, when the
one before has ended. Prints what the process has resident, its descriptors and its threads after the fifth and after
the last, and in which isolation they were.
"""

from __future__ import annotations

import json
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from benchmarks import model, runtimes
from benchmarks.own_registry import own_registry, stream_of
from pipeline.records import AspiredVersion, AspiredVersions, State
from pipeline.registry.memory import resident_bytes
from pipeline.registry.servable import describe

if TYPE_CHECKING:
    from pipeline.registry.states import VersionState

FIRST: Final = 5
_MIB: Final = 1 << 20
_TIMEOUT_S: Final = 120.0


class Ended:
    """The last version that has ended, to be waited for; subscribes to transitions."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._last = 0

    def __call__(self, event: VersionState) -> None:
        """Take note of a transition."""
        if event.state is State.END:
            with self._changed:
                self._last = event.id.version
                self._changed.notify_all()

    def wait_for(self, version: int) -> None:
        """Return when the version has ended; raises TimeoutError."""
        with self._changed:
            if not self._changed.wait_for(lambda: self._last >= version, _TIMEOUT_S):
                raise TimeoutError(f"version {version} has not ended")


def remains() -> dict[str, float]:
    """Return what the process has now."""
    return {
        "mib": (resident_bytes() or 0) / _MIB,
        "descriptors": len(list(Path("/proc/self/fd").iterdir())) if Path("/proc/self/fd").is_dir() else 0,
        "threads": threading.active_count(),
    }


def main(name: str, network: str, version: Path, swaps: int) -> dict[str, Any]:
    """Swap, and return the figures."""
    runtime, load = runtimes.named(name), runtimes.workload_for(name, network)
    ended, rows, found = Ended(), load.rows()[:1], {}
    with own_registry({"servables": {model.NAME: stream_of(runtime, version)}}) as registry:
        registry.bus.subscribe(ended)
        for number in range(1, swaps + 1):
            registry.rollout.aspire(AspiredVersions(model.NAME, (AspiredVersion(number, str(version)),)), number)
            unsettled = registry.manager.wait_settled([model.NAME], _TIMEOUT_S)
            if unsettled or registry.versions() != {model.NAME: [number]}:
                raise TimeoutError(f"version {number} is not available: {unsettled}, {registry.versions()}")
            ended.wait_for(number - 1)
            with registry.manager.acquire(model.NAME) as handle:
                handle.servable.predict("serving_default", {load.input: rows})
                isolation = describe(handle.servable).isolation
            if number in (FIRST, swaps):
                found[number] = remains()
    return {"after_first": found[FIRST], "after_all": found[swaps], "isolation": isolation}


if __name__ == "__main__":
    name, network, version, swaps = sys.argv[1:]
    print(json.dumps(main(name, network, Path(version), int(swaps))))
