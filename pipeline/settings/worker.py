"""The section ``worker``: one worker process."""

from __future__ import annotations

from typing import Final

from pipeline.errors import InvalidSettings
from pipeline.settings.section import Section

HIGHEST_NICENESS: Final = 19
HIGHEST_PORT: Final = 65535


class WorkerSettings(Section, frozen=True):
    """One worker process. An empty ``id`` becomes host name and web port, which differ for workers on one host."""

    id: str = ""
    web_host: str = "127.0.0.1"
    web_port: int = 6066
    load_threads: int = 2
    load_niceness: int = 10
    drain_timeout_s: float = 20.0
    storage_roots: tuple[str, ...] = ()
    cache_dir: str = ""
    cache_limit_bytes: int = 20 * 1024**3
    max_load_retries: int = 2
    load_retry_interval_s: float = 1.0
    retry_failed_after_s: float = 60.0
    memory_limit_bytes: int = 0
    when_memory_is_short: str = "wait"
    heartbeat_interval_s: float = 5.0
    static_membership: bool = False


def check_worker(worker: WorkerSettings, place: str) -> None:
    """Raise InvalidSettings for what is out of range."""
    if worker.when_memory_is_short not in ("wait", "refuse"):
        reason = f"{worker.when_memory_is_short!r} is not wait or refuse"
        raise InvalidSettings(f"{place}.when_memory_is_short", reason)
    for field in (
        "max_load_retries",
        "load_retry_interval_s",
        "retry_failed_after_s",
        "memory_limit_bytes",
        "cache_limit_bytes",
        "drain_timeout_s",
    ):
        if getattr(worker, field) < 0:
            raise InvalidSettings(f"{place}.{field}", f"must not be negative, got {getattr(worker, field)}")
    if worker.load_threads < 1:
        raise InvalidSettings(f"{place}.load_threads", f"must be at least 1, got {worker.load_threads}")
    if not 0 < worker.web_port <= HIGHEST_PORT:
        raise InvalidSettings(f"{place}.web_port", f"must be from 1 to {HIGHEST_PORT}, got {worker.web_port}")
    if not 0 <= worker.load_niceness <= HIGHEST_NICENESS:
        reason = f"must be from 0 to {HIGHEST_NICENESS}, got {worker.load_niceness}"
        raise InvalidSettings(f"{place}.load_niceness", reason)
    if worker.heartbeat_interval_s <= 0:
        raise InvalidSettings(f"{place}.heartbeat_interval_s", f"must be above 0, got {worker.heartbeat_interval_s:g}")
