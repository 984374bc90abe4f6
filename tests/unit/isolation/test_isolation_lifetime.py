"""A child loads as nice as its worker does, and ends when that says so, whatever it is doing."""

from __future__ import annotations

import os
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from obedient import ask, is_asleep

from pipeline.errors import ServableDied
from pipeline.isolation.spawner import Spawner
from tests.waiting import wait_for

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


def test_a_worker_that_ends_frees_who_waits_for_a_call_that_hangs_and_starts_nothing_in_its_place(
    loader_of: Any,
) -> None:
    spawner = Spawner()
    loader = loader_of(spawner=spawner)
    servable = loader.load()
    [pid] = loader._crew.pids()
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(ask, servable, 3)
        wait_for("the call is there", lambda: is_asleep(pid))
        spawner.end_all()
        with pytest.raises(ServableDied, match="SIGKILL"):
            waiting.result(20)
    wait_for("the end of the process", lambda: pid not in loader._crew.pids())
    with pytest.raises(ServableDied, match="spawner of child processes is closed"):
        ask(servable, 0)
