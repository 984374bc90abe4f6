"""The client costs little to import, and needs neither a framework nor Faust."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from pipeline.client import InputQueue
from pipeline.errors import InvalidSettings

_SCRIPT = """
import json, sys
import pipeline.client
print(json.dumps(sorted({name.partition(".")[0] for name in sys.modules})))
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


def test_the_import_brings_no_framework():
    done = subprocess.run([sys.executable, "-c", _SCRIPT], check=True, capture_output=True, timeout=100)
    assert not _UNWANTED & set(json.loads(done.stdout))


def test_a_constructor_needs_no_broker_and_checks_its_arguments():
    queue = InputQueue(bootstrap="127.0.0.1:1")
    assert queue.client_id
    queue.flush()
    queue.close()
    with pytest.raises(InvalidSettings, match="'xml'"):
        InputQueue(format="xml")
