"""What a process of its own costs a servable, in a process: ``python -m benchmarks.isolation_cost CALLS``; no broker.

The same versions loaded in this process and in a child, called in turns with the same inputs: a network of ResNet-50's
shape on 64 images (38.5 MB), a Python object on the same that computes nothing, and on one row of four numbers. Prints
the median of each.
"""

from __future__ import annotations

import json
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from benchmarks import accounting
from benchmarks.runtimes import openvino as runtime
from benchmarks.workload import IMAGES
from pipeline.isolation.adapter import IsolatedAdapter
from pipeline.registry.servable import ServableId
from pipeline.servables.kinds import load_adapter

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pipeline.registry.servable import Servable
    from pipeline.tensors import Array

BATCH: Final = (64, *IMAGES.row_shape)
_IDLE: Final = """
class Servable:
    inputs = {"x": ("FP32", %s)}
    outputs = {"y": ("FP32", [-1])}

    def predict(self, inputs):
        return {"y": inputs["x"].reshape(len(inputs["x"]), -1)[:, 0]}
"""
# Calls that are quick are made so many times as often.
_QUICK: Final = 100
_FREE: Final = 5


def compare(servables: Mapping[str, Servable], inputs: Mapping[str, Array], calls: int) -> tuple[dict[str, float], int]:
    """Return the median seconds of a call by contender, called in turns, and how many answers differed."""
    took_s: dict[str, list[float]] = {name: [] for name in servables}
    wrong, expected = 0, None
    for number in range(calls + 1):
        for name, servable in servables.items():
            started_s = time.perf_counter()
            outputs = servable.predict("serving_default", inputs)
            if number:  # the first call of each makes what the others use again
                took_s[name].append(time.perf_counter() - started_s)
            [got] = outputs.values()
            expected = np.array(got) if expected is None else expected
            wrong += not np.allclose(got, expected, rtol=1e-3, atol=1e-3)
    return {name: statistics.median(several) for name, several in took_s.items()}, wrong


def measure(kind: str, path: Path, options: dict[str, Any], inputs: Mapping[str, Array], calls: int) -> Any:
    """Load one version twice, compare, unload."""
    adapters = {"process": IsolatedAdapter(load_adapter(kind)), "thread": load_adapter(kind)}
    loaders = {name: adapter.loader(ServableId("m", 1), path, options) for name, adapter in adapters.items()}
    try:
        return compare({name: loader.load() for name, loader in loaders.items()}, inputs, calls)
    finally:
        for loader in loaders.values():
            loader.unload()


def main(calls: int) -> None:
    """Measure and print."""
    with tempfile.TemporaryDirectory(prefix="penstock-bench-") as folder:
        network, large, small = (Path(folder, name) for name in ("network", "large", "small"))
        for path in (network, large, small):
            path.mkdir()
        runtime.write(IMAGES, network)
        for path, shape in ((large, [-1, *BATCH[1:]]), (small, [-1, 4])):
            (path / "servable.py").write_text(_IDLE % shape)
        images = np.random.default_rng(1).standard_normal(BATCH, np.float32)
        allowed = {"allow_code_in_version": True}
        # The same precision in both, whatever the processor offers.
        computing, wrong = measure(runtime.KIND, network, {"precision": "f32"}, {IMAGES.input: images}, calls)
        moving, odd = measure("python", large, allowed, {"x": images}, _FREE * calls)
        asking, off = measure("python", small, allowed, {"x": np.ones((1, 4), np.float32)}, _QUICK * calls)
    ids = [str(number) for number in range(2 * (calls + _FREE * calls + _QUICK * calls + 3))]
    print(
        json.dumps(
            {
                "network_ms": {name: 1e3 * median for name, median in computing.items()},
                "moving_ms": {name: 1e3 * median for name, median in moving.items()},
                "asking_us": {name: 1e6 * median for name, median in asking.items()},
                "account": accounting.account(ids, ids, wrong=wrong + odd + off),
            }
        )
    )


if __name__ == "__main__":
    main(int(sys.argv[1]))
