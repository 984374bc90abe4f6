"""Memory is given back to the system after loads and unloads, but not by every one of many."""

from __future__ import annotations

import ctypes
import os
import platform
import subprocess
import sys
import time
from types import SimpleNamespace
from typing import Any

import pytest
from registry_fakes import Rig

from pipeline.registry import heap, manager
from pipeline.testing.fakes import InlineExecutor


def test_what_a_load_leaves_behind_is_not_counted_as_its_version(monkeypatch: pytest.MonkeyPatch) -> None:
    garbage, resident = [100], [1000]

    def measure() -> int:
        resident[0] += garbage[0]  # what is resident grows by 100 from one look to the next, unless it is given back
        return resident[0]

    monkeypatch.setattr(manager, "resident_bytes", measure)
    monkeypatch.setattr(heap, "give_back", lambda: garbage.__setitem__(0, 7))
    rig = Rig(InlineExecutor(), InlineExecutor())
    rig.aspire("digits", [1])
    assert rig.last("digits", 1).memory_bytes == 7
    garbage[0] = 100
    rig.aspire("digits", [])
    assert rig.states("digits", 1)[-1] == "END"
    assert garbage == [7]


def test_a_swap_gives_memory_back_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    """After the load of the new version and after the unload of the old one, however soon that comes."""
    trimmed: list[int] = []

    def library(_: None) -> Any:
        return SimpleNamespace(malloc_trim=trimmed.append)

    monkeypatch.setattr(ctypes, "CDLL", library)
    it = heap._Heap()
    it.give_back()
    it.give_back()
    assert trimmed == [0, 0]


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


REUSED = """
import ctypes, resource
{before}
c = ctypes.CDLL(None)
c.malloc.restype, c.malloc.argtypes, c.free.argtypes = ctypes.c_void_p, [ctypes.c_size_t], [ctypes.c_void_p]
def faults():
    start = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    block = c.malloc(12 << 20)
    ctypes.memset(block, 1, 12 << 20)
    c.free(block)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - start
print(faults(), faults())
"""
WORKER = """
from pipeline import settings
from pipeline.clock import SystemClock
from pipeline.host import Registry
Registry(settings.load(), "w", SystemClock())
"""


def _faults(before: str, **environment: str) -> tuple[int, int]:
    done = subprocess.run(
        [sys.executable, "-c", REUSED.format(before=before)],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=True,
    )
    first, second = done.stdout.split()
    return int(first), int(second)


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="another C library has limits of its own")
def test_a_worker_uses_large_blocks_again_from_the_first_on() -> None:
    first, second = _faults(WORKER)
    assert first > 3000
    assert second < 100


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="as above")
def test_what_the_environment_says_of_large_blocks_counts() -> None:
    first, second = _faults(WORKER, MALLOC_MMAP_THRESHOLD_="131072")
    assert second > 3000
    assert first > 3000
