"""The runtime alone, with one model and with many in turn."""

from __future__ import annotations

import json
import subprocess
import sys


def test_a_row_has_a_cost_by_one_model_and_by_many_for_each_number_of_rows() -> None:
    argv = [sys.executable, "-m", "benchmarks.models", "0.01", "3"]
    found = json.loads(subprocess.run(argv, capture_output=True, text=True, check=True).stdout)
    assert found["models"] == 3
    assert set(found["cpu_us_a_row"]) == {"one_model", "models_in_turn"}
    for costs in found["cpu_us_a_row"].values():
        assert costs["1"] > costs["512"] > 0
