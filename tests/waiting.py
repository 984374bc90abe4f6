"""How a test waits for something that happens on another thread or in another process."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any


def wait_for(what: str, condition: Callable[[], Any], *, timeout_s: float = 20.0, every_s: float = 0.01) -> Any:
    """Return the first true value of ``condition()``; fail after the deadline with what it was last."""
    deadline_s = time.monotonic() + timeout_s
    while not (value := condition()):
        assert time.monotonic() < deadline_s, f"{what}: not within {timeout_s:g} s, last {value!r}"
        time.sleep(every_s)
    return value
