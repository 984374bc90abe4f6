"""Pauses where threads meet, drawn from a seed: the same seed gives each thread the same sequence of pauses.

What the registry's modules know as ``threading`` is replaced, so every lock, condition, event and thread that they make
while a schedule is in force pauses before and after it is taken, given back, waited for or told. So do jobs around
their run on a pool, the bus before it publishes, and a reader between a snapshot and what it does with it. Nothing
pauses while the process has one thread only.
"""

from __future__ import annotations

import importlib
import pkgutil
import random
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import pytest

import pipeline.registry
from pipeline.registry.snapshot import StreamSnapshot
from pipeline.registry.states import EventBus

# One point in so many sleeps up to the longest pause, and one in so many lets go of the interpreter.
_SLEEPS, _YIELDS, _LONGEST_S = 0.03, 0.1, 0.001


class Schedule:
    """One sequence of pauses per thread name."""

    def __init__(self, seed: int) -> None:
        self._seed = seed
        self._of_thread: dict[str, random.Random] = {}

    def pause(self) -> None:
        """Sleep, let others go on, or do neither."""
        if threading.active_count() == 1:
            return
        name = threading.current_thread().name
        chance = self._of_thread.setdefault(name, random.Random(f"{self._seed} {name}"))
        drawn = chance.random()
        if drawn < _SLEEPS:
            time.sleep(chance.random() * _LONGEST_S)
        elif drawn < _SLEEPS + _YIELDS:
            time.sleep(0)

    def around(self, call: Callable[..., Any]) -> Callable[..., Any]:
        """Return the call with a pause before and after it."""

        def paused(*args: Any, **more: Any) -> Any:
            self.pause()
            try:
                return call(*args, **more)
            finally:
                self.pause()

        return paused


def fuzzed(schedule: Schedule, kind: type, *names: str) -> type:
    """Return a subclass of a class that pauses around these methods."""
    return type(f"Fuzzed{kind.__name__}", (kind,), {name: _method(schedule, getattr(kind, name)) for name in names})


def _method(schedule: Schedule, method: Callable[..., Any]) -> Callable[..., Any]:
    return schedule.around(method)


class _Lock:
    """A lock as a class, so that it can be subclassed; ``threading.Lock`` is a function."""

    make = staticmethod(threading.Lock)

    def __init__(self) -> None:
        self._inner = self.make()

    def acquire(self, *args: Any, **more: Any) -> bool:
        return self._inner.acquire(*args, **more)

    def release(self) -> None:
        self._inner.release()

    def __enter__(self) -> bool:
        return self.acquire()

    def __exit__(self, *_: object) -> None:
        self.release()


class _RLock(_Lock):
    make = staticmethod(threading.RLock)


class FuzzedThreading:
    """Stands for the module ``threading``."""

    def __init__(self, schedule: Schedule) -> None:
        self.Lock = fuzzed(schedule, _Lock, "acquire", "release")
        self.RLock = fuzzed(schedule, _RLock, "acquire", "release")
        self.Condition = fuzzed(schedule, threading.Condition, "__enter__", "__exit__", "wait", "notify", "notify_all")
        self.Event = fuzzed(schedule, threading.Event, "set", "wait", "is_set")
        self.Thread = fuzzed(schedule, threading.Thread, "start", "run")

    def __getattr__(self, name: str) -> Any:
        return getattr(threading, name)


@contextmanager
def schedule_of(seed: int) -> Iterator[Schedule]:
    """Keep the registry, and all pools, to the schedule of a seed; what is made meanwhile pauses for its life."""
    schedule = Schedule(seed)
    threads = FuzzedThreading(schedule)
    submit = ThreadPoolExecutor.submit
    with pytest.MonkeyPatch.context() as patch:
        for module in pkgutil.iter_modules(pipeline.registry.__path__):
            loaded = importlib.import_module(f"pipeline.registry.{module.name}")
            if hasattr(loaded, "threading"):
                patch.setattr(loaded, "threading", threads)
        patch.setattr(
            ThreadPoolExecutor, "submit", lambda pool, call, *a, **m: submit(pool, schedule.around(call), *a, **m)
        )
        patch.setattr(EventBus, "publish", _method(schedule, EventBus.publish))
        patch.setattr(StreamSnapshot, "find", _method(schedule, StreamSnapshot.find))
        yield schedule
