"""The registry of a worker in this process, without a broker."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from pipeline import settings
from pipeline.clock import SystemClock
from pipeline.host import Registry

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from benchmarks.runtimes import Runtime


@contextmanager
def own_registry(overrides: Mapping[str, Any]) -> Iterator[Registry]:
    """Yield one with these settings, which changes how this process takes memory, and close it at the end."""
    registry = Registry(settings.load(overrides=overrides), "benchmark", SystemClock())
    try:
        yield registry
    finally:
        registry.close(10.0)


def stream_of(runtime: Runtime, version: Path) -> dict[str, Any]:
    """Return the settings of a stream that has this version of a runtime's kind."""
    return {"base_path": str(version.parent), "kind": runtime.KIND, "options": dict(runtime.OPTIONS)}
