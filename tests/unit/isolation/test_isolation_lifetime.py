"""Loads in a child give way as loads in the worker do, and its calls do not."""

from __future__ import annotations

import os
import threading
from typing import Any

from obedient import ask

from pipeline.isolation.spawner import Spawner

CODE = "(self.path / 'niceness').write_text(f'{os.getpriority(os.PRIO_PROCESS, 0)}')"


def test_a_child_loads_as_nice_as_the_thread_that_loads_and_answers_as_nice_as_the_worker(
    loader_of: Any, tmp_path: Any
) -> None:
    spawner = Spawner()
    spawner.open()
    loader = loader_of(CODE, spawner=spawner)
    normal = os.getpriority(os.PRIO_PROCESS, os.getpid())

    def load() -> None:
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), normal + 5)
        made.append(loader.load())

    made: list[Any] = []
    thread = threading.Thread(target=load)
    thread.start()
    thread.join()
    pid = ask(made[0], 0)["pid"].item()
    assert (tmp_path / "0" / "niceness").read_text() == str(normal + 5)
    assert os.getpriority(os.PRIO_PROCESS, pid) == normal
    loader.unload()
    spawner.close()
