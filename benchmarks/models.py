"""The runtime alone, one model and many in turn: ``python -m benchmarks.models [SECONDS [MODELS]]``, 1,000 unless said.

No broker, no codec, nothing of ours: OpenVINO and the small MLP, each model compiled for itself, one thread. Prints the
microseconds of CPU a row, by the rows of a call: what a worker that serves many streams can not go below.
"""

from __future__ import annotations

import json
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from benchmarks import model
from benchmarks.contenders.work import load_model

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

_ROWS: Final = (1, 4, 16, 32, 64, 128, 512)
_SECONDS: Final = 3.0
_MODELS: Final = 1000
_ROUNDS: Final = 3


def cost_us(models: Sequence[Callable[[model.Floats], model.Floats]], rows: int, seconds: float) -> float:
    """Return the microseconds of CPU a row, of calls of ``rows`` rows to one model after the other."""
    batch = np.random.default_rng(1).standard_normal((rows, model.FEATURES), np.float32)
    for predict in models:  # a shape is new to each of them once
        predict(batch)
    calls, started_s, end_s = 0, time.process_time(), time.monotonic() + seconds
    while time.monotonic() < end_s:
        for predict in models:
            predict(batch)
        calls += len(models)
    return 1e6 * (time.process_time() - started_s) / (calls * rows)


def main(seconds: float, count: int) -> dict[str, Any]:
    """Return the medians by the rows of a call."""
    with tempfile.TemporaryDirectory() as folder:
        path = str(model.write(Path(folder)))
        models = [load_model(path, model.OPENVINO) for _ in range(count)]
    # As many calls of the one between two looks at the clock as of the others.
    several = {"one_model": models[:1] * count, "models_in_turn": models}
    costs = {
        name: {rows: [cost_us(chosen, rows, seconds) for _ in range(_ROUNDS)] for rows in _ROWS}
        for name, chosen in several.items()
    }
    return {
        "models": count,
        "cpu_us_a_row": {
            name: {str(rows): round(float(np.median(rounds)), 2) for rows, rounds in by_rows.items()}
            for name, by_rows in costs.items()
        },
    }


if __name__ == "__main__":
    seconds = float(sys.argv[1]) if len(sys.argv) > 1 else _SECONDS
    print(json.dumps(main(seconds, int(sys.argv[2]) if len(sys.argv) > 2 else _MODELS)))
