"""Nothing is left behind: no process, no descriptor, no memory, whichever way it ends."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from obedient import ask, is_there, write_version

from pipeline.isolation.segment import CALLS, Arena, capacity
from pipeline.registry.servable import ServableId
from tests.waiting import wait_for


def descriptors(pid: int | str = "self") -> int:
    return len(list(Path(f"/proc/{pid}/fd").iterdir()))


def resident_bytes(pid: int | str = "self") -> int:
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def test_a_thousand_calls_leave_neither_descriptors_nor_memory_behind(loader_of: Any) -> None:
    loader = loader_of()
    servable = loader.load()
    [pid] = loader._crew.pids()
    x = np.zeros((5000, 1), np.float32)

    def ask_often(count: int) -> tuple[int, int, int, int]:
        for number in range(count):
            servable.predict("serving_default", {"x": x[: 100 + number % 4900]})
        return descriptors(), descriptors(pid), resident_bytes(), resident_bytes(pid)

    before = ask_often(300)
    after = ask_often(1000)
    assert after[:2] == before[:2]
    assert after[2] - before[2] < 8 << 20
    assert after[3] - before[3] < 8 << 20


def test_an_unload_ends_the_processes_and_those_that_they_have_started(loader_of: Any) -> None:
    loader = loader_of("self.other = subprocess.Popen(['sleep', '600'])", processes=2)
    servable = loader.load()
    ask(servable, 0)
    pids = loader._crew.pids()
    assert len(pids) == 2
    assert all(is_there(pid) for pid in pids)
    loader.unload()
    assert not [pid for pid in pids if is_there(pid)]


def test_thirty_swaps_leave_nothing_behind(loader_of: Any) -> None:
    old = loader_of()
    ask(old.load(), 0)
    before = descriptors(), threading.active_count()
    seen: list[int] = []
    after_fifth_bytes = 0
    for swap in range(30):
        if swap == 5:
            after_fifth_bytes = resident_bytes()
        new = loader_of()
        servable = new.load()
        seen += old._crew.pids()
        old.unload()
        ask(servable, 0)
        old = new
        del new, servable
    wait_for(
        "no more descriptors and threads",
        lambda: (descriptors(), threading.active_count()) <= (before[0] + 2, before[1] + 2),
    )
    assert not [pid for pid in seen if is_there(pid)]
    assert resident_bytes() < 1.05 * after_fifth_bytes


def test_an_unload_in_the_middle_of_a_replacement_ends_that_too(loader_of: Any, tmp_path: Path) -> None:
    mark = tmp_path / "pids"
    code = (
        f"open({str(mark)!r}, 'a').write(f'{{os.getpid()}}\\n')\nif os.path.exists('{tmp_path}/slow'): time.sleep(600)"
    )
    loader = loader_of(code)
    servable = loader.load()
    (tmp_path / "slow").touch()
    with pytest.raises(Exception, match="exit status 7"):
        ask(servable, 4)
    wait_for("the next process", lambda: len(mark.read_text().split()) == 2)
    loader.unload()
    wait_for("the end of both", lambda: not [pid for pid in map(int, mark.read_text().split()) if is_there(pid)])


PARENT = """
import sys, time
from pathlib import Path
from pipeline.isolation.adapter import IsolatedAdapter
from pipeline.registry.servable import ServableId
from pipeline.servables.python import PythonAdapter
import numpy as np, threading
loader = IsolatedAdapter(PythonAdapter(), processes=2).loader(
    ServableId("m", 1), Path(sys.argv[1]), {"allow_code_in_version": True})
made = []
thread = threading.Thread(target=lambda: made.append(loader.load()))  # one that ends: its children must not
thread.start(); thread.join()
servable = made[0]
ask = lambda number: servable.predict("serving_default", {"x": np.full((1, 1), number, np.float32)})
ask(0)
print(*loader._crew.pids(), flush=True)
threading.Thread(target=ask, args=(int(sys.argv[2]),)).start()
time.sleep(600)
"""


@pytest.mark.parametrize("number", [0, 3, -1], ids=["at rest", "hanging", "holding the GIL"])
def test_a_worker_that_is_killed_takes_its_children_along(tmp_path: Path, number: int) -> None:
    write_version(tmp_path / "1")
    environ = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    with subprocess.Popen(
        [sys.executable, "-c", PARENT, str(tmp_path / "1"), str(number)], stdout=subprocess.PIPE, text=True, env=environ
    ) as parent:
        assert parent.stdout is not None
        pids = [int(pid) for pid in parent.stdout.readline().split()]
        assert len(pids) == 2
        assert all(is_there(pid) for pid in pids)
        parent.kill()
    wait_for("the end of the children", lambda: not [pid for pid in pids if is_there(pid)])


def test_the_worker_goes_on_while_a_child_computes_with_the_gil_held(loader_of: Any) -> None:
    servable = loader_of().load()
    gaps: list[float] = []
    stopped = threading.Event()

    def tick() -> None:
        last_s = time.monotonic()
        while not stopped.wait(0.005):
            now_s = time.monotonic()
            gaps.append(now_s - last_s)
            last_s = now_s

    ticking = threading.Thread(target=tick)
    ticking.start()
    ask(servable, 9)
    stopped.set()
    ticking.join()
    assert len(gaps) > 20
    assert max(gaps) < 0.2


def test_an_arena_grows_with_a_call_and_shrinks_when_many_needed_less() -> None:
    arena = Arena()
    sizes = []
    for needed in (10, 1 << 24, *[1000] * (2 * CALLS)):
        memory = arena.room(needed)
        assert len(memory) == arena.size_bytes >= needed
        sizes.append(arena.size_bytes)
    assert sizes[0] == 1 << 16
    assert sizes[1] == sizes[50] == 1 << 24
    assert sizes[-1] == 1 << 16
    arena.close()


def test_an_arena_that_is_needed_as_it_is_stays() -> None:
    arena = Arena()
    sizes = set()
    for number in range(5 * CALLS):
        arena.room(1 << 20 if number % CALLS == 3 else 1 << 17)
        sizes.add(arena.size_bytes)
    assert sizes == {1 << 17, 1 << 20}
    arena.close()
    assert capacity(1 << 20, 10, CALLS, 1 << 18) == 1 << 18
    assert capacity(1 << 20, 10, CALLS, (1 << 18) + 1) == 1 << 20
    assert capacity(0, 0, 1, 0) == 1 << 16


def test_what_the_processes_need_is_what_is_reported(loader_of: Any) -> None:
    loader = loader_of("self.held = np.ones(40 << 20, np.uint8)", processes=2)
    assert loader.memory_bytes() is None
    loader.load()
    assert 80 << 20 < loader.memory_bytes() < 400 << 20
    loader.unload()
    assert loader.memory_bytes() is None


def test_a_loader_that_is_made_starts_nothing(loader_of: Any) -> None:
    before = threading.active_count(), descriptors()
    assert loader_of().estimate_bytes() is None
    assert (threading.active_count(), descriptors()) == before
    assert ServableId("m", 1) == ("m", 1)
