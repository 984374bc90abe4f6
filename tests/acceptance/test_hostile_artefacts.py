"""Artefacts that mean harm, on a worker: refused with the reason, nothing written or run, the good stream serving."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from pipeline.records import State
from tests.acceptance.conftest import Deploy
from tests.acceptance.traffic import Traffic

# What each one is refused for.
REASONS = {"pickle": "allow_pickle", "zip": "expands to", "graph": "WriteFile", "library": "extension library"}
MODULE = """
from torch import nn

class Digits(nn.Module):
    def __init__(self):
        super().__init__()
        self.hidden = nn.Linear(4, 4)
"""
TENSOR = {"datatype": "FP32", "shape": [-1, 4]}
OPTIONS = {"pickle": {"module": "digits_module:Digits", "inputs": {"x": TENSOR}, "outputs": {"y": TENSOR}}}


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_hostile_artefacts_end_with_their_reason_and_the_good_stream_goes_on(deploy: Deploy, tmp_path: Path) -> None:
    made = tmp_path / "made"
    command = [sys.executable, "-m", "tests.acceptance.kinds.hostile", str(made)]
    subprocess.run(command, check=True, timeout=120, capture_output=True)
    (tmp_path / "digits_module.py").write_text(MODULE)
    bad = {name: {"base_path": f"models/{name}", "options": OPTIONS.get(name, {})} for name in REASONS}
    good = {"base_path": "models/factor", "kind": "python", "options": {"class": "factor_model:Factor"}}
    it = deploy(servables={"factor": good, **bad}, routes={"factor": {}})
    it.drop("factor", 1, {"factor": b"10"})
    worker = it.worker("one", "--watch").wait_until_ready()
    with Traffic(it.bootstrap, it.settings.routes["factor"], per_s=20) as traffic:
        for name in REASONS:
            partial = it.models / name / ".1.partial"
            shutil.copytree(made / name / "1", partial)
            partial.rename(partial.with_name("1"))
        for name, reason in REASONS.items():
            [state] = it.wait_for_state(["one"], name, 1, State.END)
            assert state.error is not None
            assert state.error.code == "invalid_artefact", name
            assert reason in state.error.message
        traffic.finish()
    assert not traffic.unanswered()
    assert not traffic.errors()
    assert worker.popen.poll() is None
    assert not list(made.glob("bomb-*"))
    for name in REASONS:
        versions = made / name, it.models / name
        before, after = ({file.relative_to(base) for file in base.rglob("*")} for base in versions)
        assert before == after
