"""Under a steady load: a version that answers a golden request otherwise than expected never serves anybody."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from pipeline import warm_up
from pipeline.records import State
from tests.acceptance.conftest import Deploy
from tests.acceptance.traffic import Traffic
from tests.acceptance.workers import Worker, wait_for

WORKERS = ("one", "two")
GOLDEN = 42.0  # what the golden requests hold; the traffic holds 1.0

# As conftest's, and it notes each call in a file of this worker and version: the first element, and when.
MODEL = """
import os
import time
import numpy as np

class Noting:
    inputs = {"x": ("FP32", [-1, 1])}
    outputs = {"y": ("FP32", [-1, 1])}

    def load(self, path):
        self.factor = float((path / "factor").read_text())
        self.notes = open(f"calls-{path.name}-{os.getpid()}", "a", buffering=1)

    def predict(self, inputs):
        self.notes.write(f"{inputs['x'][0, 0]} {time.time()}\\n")
        return {"y": inputs["x"] * np.float32(self.factor)}

    def unload(self):
        self.notes.close()
"""
STREAM = {"base_path": "models/factor", "kind": "python", "options": {"class": "noting_model:Noting"}}


def golden(folder: Path, factor: float) -> bytes:
    """The bytes of a warm-up file by which 42 is multiplied by ``factor``."""
    x = np.array([[GOLDEN]], np.float32)
    return warm_up.write(folder, [warm_up.request({"x": x}, {"y": x * factor}, description="the answer")]).read_bytes()


def calls(folder: Path, worker: Worker, version: int) -> list[tuple[float, float]]:
    """What was computed by a version on a worker, and when."""
    path = folder / f"calls-{version}-{worker.popen.pid}"
    pairs = [line.split() for line in path.read_text().splitlines()]
    return [(float(element), float(at_s)) for element, at_s in pairs]


def test_a_version_that_fails_its_golden_check_never_serves_and_one_that_passes_goes_live(
    deploy: Deploy, tmp_path: Path
) -> None:
    it = deploy(servables={"factor": STREAM})
    (tmp_path / "noting_model.py").write_text(MODEL)
    it.drop("factor", 1, {"factor": b"1"})
    it.watcher()
    workers = [it.worker(name) for name in WORKERS]
    for worker in workers:
        worker.wait_until_ready()
    with Traffic(it.bootstrap, it.settings.routes["factor"], per_s=300) as traffic:
        wait_for("answers by version 1", lambda: traffic.by_version()[1] > 300)
        it.drop("factor", 2, {"factor": b"2.5", "warm-up.avro": golden(tmp_path, 2.0)})
        for state in it.wait_for_state(WORKERS, "factor", 2, State.END):
            assert state.error is not None
            assert state.error.code == "golden_mismatch"
            assert not state.error.retriable
            assert "(the answer): output 'y'" in state.error.message
            assert "element [0, 0] is 105.0, expected 84.0" in state.error.message
        assert [worker.versions() for worker in workers] == [{"factor": [1]}] * 2
        before = traffic.by_version()[1]
        wait_for("more answers by version 1", lambda: traffic.by_version()[1] > before + 300)
        it.drop("factor", 3, {"factor": b"3", "warm-up.avro": golden(tmp_path, 3.0)})
        available = it.wait_for_state(WORKERS, "factor", 3, State.AVAILABLE)
        it.wait_for_state(WORKERS, "factor", 1, State.END)
        wait_for("answers by version 3", lambda: traffic.by_version()[3] > 300)
        traffic.finish()
        assert traffic.unanswered() == set()
        assert traffic.errors() == []
        assert set(traffic.by_version()) == {1, 3}
    for worker, state in zip(workers, available, strict=True):
        # Version 2 has computed its golden request, once, and nothing else ever.
        assert [element for element, _ in calls(it.folder, worker, 2)] == [GOLDEN]
        # Version 3 had computed its own before it was available, and before any request of the traffic.
        first, *others = calls(it.folder, worker, 3)
        assert first[0] == GOLDEN
        assert {element for element, _ in others} == {1.0}
        assert first[1] * 1000 < state.at_ms + 1  # at_ms is cut to whole milliseconds
    it.run("warm-up", "check", str(it.models / "factor" / "3"))
