"""A token provider that keeps the contract, and one for each way of breaking it."""

from __future__ import annotations

import threading
import time


def provide(config: str) -> tuple[str, float]:
    if not config:
        raise ValueError("nowhere to look")
    return "a.b.c", time.time() + 60


def gives_no_end(config):
    return provide(config)[0]


def gives_three(config):
    return *provide(config), "worker"


def gives_bytes(config):
    return provide(config)[0].encode(), time.time() + 60


def keeps_the_line_end(config):
    return provide(config)[0] + "\n", time.time() + 60


def counts_milliseconds(config):
    return provide(config)[0], (time.time() + 60) * 1000


def gives_an_old_one(config):
    return provide(config)[0], time.time() - 60


def wants_one_thread(config):
    if threading.current_thread() is not threading.main_thread():
        raise RuntimeError("there is no event loop in this thread")
    return provide(config)


def gives_nothing_for_nothing(config):
    return provide(config) if config else ("", 0.0)


def says_nothing(config):
    if not config:
        raise ValueError
    return provide(config)
