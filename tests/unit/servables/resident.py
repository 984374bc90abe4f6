"""What this process has resident once freed memory has been given back, as after each load and unload of a worker."""

from __future__ import annotations

from pipeline.registry import heap, memory


def resident_bytes() -> int:
    """Linux only."""
    heap.give_back()
    found = memory.resident_bytes()
    assert found is not None
    return found
