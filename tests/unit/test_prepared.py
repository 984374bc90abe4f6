"""Frameworks that the settings name are imported before a worker takes requests."""

from __future__ import annotations

import subprocess
import sys

from pipeline import settings
from pipeline.rollout import RollOut

PREPARE = """
import sys
from pipeline import settings
from pipeline.rollout import RollOut

def stream(kind, **more):
    return {"base_path": "/models", "kind": kind, **more}

streams = {"a": stream("xgboost"), "b": stream("lightgbm", isolation="process"), "c": {"base_path": "/models"}}
rollout = RollOut(settings.load(overrides={"servables": streams}), None)
assert "xgboost" not in sys.modules
rollout.prepare()
print([name for name in ("xgboost", "lightgbm", "tensorflow", "torch", "openvino") if name in sys.modules])
rollout.close()
"""


def test_named_kinds_are_imported_and_those_in_processes_of_their_own_are_not():
    found = subprocess.run([sys.executable, "-c", PREPARE], check=True, capture_output=True, text=True, timeout=120)
    assert found.stdout.strip() == "['xgboost']"


def test_a_kind_that_can_not_be_imported_is_logged_and_keeps_nothing_else_from_it(caplog, monkeypatch):
    monkeypatch.setitem(sys.modules, "lightgbm", None)
    streams = {"a": {"base_path": "/models", "kind": "lightgbm"}, "b": {"base_path": "/models", "kind": "nothing"}}
    rollout = RollOut(settings.load(overrides={"servables": streams}), None)
    rollout.prepare()
    rollout.close()
    assert "LightGBM can not be imported" in caplog.text
    assert "kind nothing is not prepared" in caplog.text
