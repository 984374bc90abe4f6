"""A runtime alone, a process of its own: ``python -m benchmarks.bare ACTION RUNTIME NETWORK VERSION [...]``.

``write`` makes the version; ``answer`` writes, beside it, ``VERSION.npy``: what the runtime answers to the rows.
``rate BATCH SECONDS`` prints how many rows a second it computes, in batches as they would come to it.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from benchmarks import runtimes

if TYPE_CHECKING:
    from collections.abc import Callable

    from benchmarks.model import Floats

_BATCH = 8


def rate(predict: Callable[[Floats], Floats], rows: Floats, batch: int, seconds: float) -> float:
    """Return rows a second; a tenth of the time goes before, uncounted."""
    batches = [np.ascontiguousarray(rows[[(start + n) % len(rows) for n in range(batch)]]) for start in range(4)]
    done, started_s, is_warm = 0, time.perf_counter(), False
    while (now_s := time.perf_counter()) < started_s + seconds:
        if not is_warm and now_s > started_s + seconds / 10:
            done, started_s, is_warm = 0, now_s, True
        predict(batches[(done // batch) % len(batches)])
        done += batch
    return done / (time.perf_counter() - started_s)


def main(action: str, name: str, network: str, version: Path, *arguments: str) -> object:
    """Do it and return what is printed."""
    runtime, load = runtimes.named(name), runtimes.workload_for(name, network)
    if action == "write":
        version.mkdir(parents=True)
        runtime.write(load, version)
        return sum(file.stat().st_size for file in version.rglob("*") if file.is_file())
    if action == "answer":
        predict, rows = runtime.run(load, version), load.rows()
        answers = [predict(np.ascontiguousarray(rows[at : at + _BATCH])) for at in range(0, len(rows), _BATCH)]
        np.save(version.with_name(f"{version.name}.npy"), np.concatenate(answers))
        return len(rows)
    return {"rows_per_s": rate(runtime.run(load, version), load.rows(), int(arguments[0]), float(arguments[1]))}


if __name__ == "__main__":
    action, name, network, version, *rest = sys.argv[1:]
    print(json.dumps(main(action, name, network, Path(version), *rest)))
