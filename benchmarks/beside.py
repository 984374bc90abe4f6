"""Predictions beside a load, a process of its own: ``python -m benchmarks.beside MODELS HEAVY NICENESS SHARE SECONDS``.

No broker and no wire: the registry of a worker on one core, a thread that predicts with the light model at a fixed
rate, and another stream that loads a heavy version meanwhile. The rate is that at which predictions take SHARE of the
core: above one half they need more than a load at equal priority leaves them. What comes too late is late for those
behind it as well, for the loop is open.
"""

from __future__ import annotations

import json
import os
import sys
import threading
import time
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from benchmarks import accounting, model
from benchmarks.contenders.penstock import servable
from benchmarks.own_registry import own_registry
from benchmarks.swaps import Seen, Window, latency
from pipeline.records import AspiredVersion, AspiredVersions

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pipeline.host import Registry

_ROWS: Final = 2000
_OTHER: Final = "other"
_CALIBRATION: Final = 100
_TIMEOUT_S: Final = 120.0
_TOLERANCE: Final = 1e-3


class Predictor:
    """Predicts in an open loop on a thread of its own, each time with a handle, until it is stopped."""

    def __init__(self, registry: Registry, period_s: float) -> None:
        self.seen: list[Seen] = []
        self.first_rows: list[model.Floats] = []
        self.rows = np.random.default_rng(1).standard_normal((_ROWS, model.FEATURES), np.float32)
        self._registry, self._period_s = registry, period_s
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run)

    def predict(self) -> None:
        """Make one prediction."""
        with self._registry.manager.acquire(model.NAME) as handle:
            outputs = handle.servable.predict("", {model.INPUT: self.rows})
        self.first_rows.append(outputs[model.OUTPUT][0])

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def stop(self) -> None:
        """End, and wait for the predictions that are due."""
        self._stopped.set()
        self._thread.join()

    def _run(self) -> None:
        due_s = time.time()
        while not self._stopped.is_set():
            time.sleep(max(0.0, due_s - time.time()))
            self.predict()
            self.seen.append(Seen(due_s, 1000 * (time.time() - due_s), 1))
            due_s += self._period_s


def measure(registry: Registry, heavy: Path, share: float, before_s: float) -> dict[str, Any]:
    """Return the figures of the time before the load, and of that from the aspiration until all is settled."""
    calibration = Predictor(registry, 0.0)
    took_s = []
    for _ in range(_CALIBRATION):
        started_s = time.perf_counter()
        calibration.predict()
        took_s.append(time.perf_counter() - started_s)
    predictor = Predictor(registry, float(np.median(took_s)) / share)
    predictor.start()
    start_s = time.time()
    time.sleep(before_s)
    aspired_s = time.time()
    aspire(registry, _OTHER, heavy)
    settled_s = time.time()
    predictor.stop()
    expected = model.expected(predictor.rows)[0]
    wrong = sum(np.abs(got - expected).max() > _TOLERANCE for got in predictor.first_rows)
    ids = [str(number) for number in range(len(predictor.seen))]
    return {
        "before": asdict(latency(predictor.seen, Window(start_s, aspired_s))),
        "during": asdict(latency(predictor.seen, Window(aspired_s, settled_s))),
        "prediction_ms": 1000 * float(np.median(took_s)),
        "duration_s": settled_s - aspired_s,
        "account": accounting.account(ids, ids, wrong=int(wrong)),
    }


def aspire(registry: Registry, stream: str, version: Path) -> None:
    """Aspire to one version and return when it is available; raises TimeoutError."""
    registry.rollout.aspire(AspiredVersions(stream, (AspiredVersion(int(version.name), str(version)),)), 0)
    unsettled = registry.manager.wait_settled([stream], _TIMEOUT_S)
    if unsettled or int(version.name) not in registry.versions().get(stream, []):
        raise TimeoutError(f"{stream}/{version.name} is not available: {unsettled}")


def main(arguments: Sequence[str]) -> None:
    """Bind this process to one core, serve the light model, measure, print."""
    models, heavy, niceness, share, before_s = arguments
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    streams = {model.NAME: servable(Path(models)), _OTHER: servable(Path(heavy).parent)}
    with own_registry({"servables": streams, "worker": {"load_niceness": int(niceness)}}) as registry:
        aspire(registry, model.NAME, Path(models, "1"))
        registry.let_loads_give_way()
        print(json.dumps(measure(registry, Path(heavy), float(share), float(before_s))))


if __name__ == "__main__":
    main(sys.argv[1:])
