"""One load, a process of its own: ``python -m benchmarks.loading penstock|bare RUNTIME NETWORK VERSION``.

Prints the seconds until the version can answer, the import of the framework included, by how many MiB the process has
grown when it has answered once, and how many milliseconds other threads had to wait at most. The one goes the way of a
worker: an aspiration, and AVAILABLE.
"""

from __future__ import annotations

import json
import os
import sys
import time
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks import model, runtimes
from benchmarks.beside import aspire
from benchmarks.own_registry import own_registry, stream_of
from benchmarks.ticking import ticking
from pipeline import plugins
from pipeline.registry.memory import resident_bytes

if TYPE_CHECKING:
    from collections.abc import Callable

    from benchmarks.model import Floats
    from benchmarks.workload import Workload
    from pipeline.host import Registry

_MIB = 1 << 20


def served(registry: Registry, load: Workload, version: Path) -> Callable[[Floats], Floats]:
    """Return what a version answers that the registry has made available."""
    aspire(registry, model.NAME, version)

    def predict(rows: Floats) -> Floats:
        with registry.manager.acquire(model.NAME) as handle:
            answer: Floats = handle.servable.predict("serving_default", {load.input: rows})[load.output]
        return answer

    return predict


def main(who: str, name: str, network: str, version: Path) -> dict[str, float]:
    """Load, answer once, and return the figures."""
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, range(os.cpu_count() or 1))  # the harness is bound, and nothing else is at work here
    runtime, load = runtimes.named(name), runtimes.workload_for(name, network)
    rows = load.rows()[:1]
    plugins.installed()  # a worker has found its connectors among them before it loads anything
    # A registry changes how its process takes memory, so the bare runtime's process has none.
    ours = {"servables": {model.NAME: stream_of(runtime, version)}}
    with own_registry(ours) if who == "penstock" else nullcontext() as registry:
        before_bytes, started_s = resident_bytes() or 0, time.perf_counter()
        with ticking() as ticks:
            predict = served(registry, load, version) if registry is not None else runtime.run(load, version)
            took_s = time.perf_counter() - started_s
        predict(rows)
        grown = ((resident_bytes() or 0) - before_bytes) / _MIB
    return {"seconds": took_s, "mib": grown, "held_ms": ticks.longest_ms}


if __name__ == "__main__":
    who, name, network, version = sys.argv[1:]
    print(json.dumps(main(who, name, network, Path(version))))
