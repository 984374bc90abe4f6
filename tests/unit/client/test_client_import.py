"""The client costs little to import, and needs neither a framework nor Faust."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from pipeline.client import InputQueue
from pipeline.errors import InvalidSettings

_SCRIPT = """
import json, sys, time
started = time.perf_counter()
import pipeline.client
print(json.dumps([time.perf_counter() - started, sorted({name.partition(".")[0] for name in sys.modules})]))
"""
_UNWANTED = {
    "faust",
    "mode",
    "aiokafka",
    "tensorflow",
    "torch",
    "openvino",
    "sklearn",
    "scipy",
    "redis",
    "click",
    "rich",
}


def test_the_import_is_fast_and_brings_no_framework():
    runs = [
        json.loads(subprocess.run([sys.executable, "-c", _SCRIPT], check=True, capture_output=True, timeout=60).stdout)
        for _ in range(3)
    ]
    assert not _UNWANTED & set(runs[0][1])
    assert min(seconds for seconds, _ in runs) < 0.5


def test_a_constructor_needs_no_broker_and_checks_its_arguments():
    queue = InputQueue(bootstrap="127.0.0.1:1")
    assert queue.client_id
    queue.flush()
    queue.close()
    with pytest.raises(InvalidSettings, match="'xml'"):
        InputQueue(format="xml")
