"""The data path alone is measured on whatever interpreter runs it."""

from __future__ import annotations

import json
import subprocess
import sys


def test_one_thread_two_threads_and_two_processes_are_measured_side_by_side() -> None:
    argv = [sys.executable, "-m", "benchmarks.threads", "0.1"]
    found = json.loads(subprocess.run(argv, capture_output=True, text=True, check=True).stdout)
    assert found.pop("interpreter").startswith("3.")
    assert set(found) == {"one_thread_per_s", "two_threads", "two_processes"}
    assert min(found.values()) > 0
