"""Memory is given back to the system, but not by every one of many unloads."""

from __future__ import annotations

import ctypes
import time
from types import SimpleNamespace
from typing import Any

import pytest

from pipeline.servables import heap


def test_of_many_unloads_in_a_row_few_give_memory_back_and_the_first_does(monkeypatch: pytest.MonkeyPatch) -> None:
    now_s = [100.0]
    trimmed: list[float] = []

    def trim(_: int) -> int:
        trimmed.append(now_s[0])
        now_s[0] += 0.5
        return 1

    def library(_: None) -> Any:
        return SimpleNamespace(malloc_trim=trim)

    monkeypatch.setattr(ctypes, "CDLL", library)
    monkeypatch.setattr(time, "monotonic", lambda: now_s[0])
    it = heap._Heap()
    for _ in range(100):
        it.give_back()
        now_s[0] += 0.1
    assert trimmed[0] == 100.0
    assert 0.05 < 0.5 * len(trimmed) / (now_s[0] - 100.0) < 0.15
