from __future__ import annotations

import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext

import pytest
from registry_fakes import ManualExecutor, Rig
from schedule_fuzzer import schedule_of

from pipeline.testing.fakes import InlineExecutor


@pytest.fixture(autouse=True)
def _schedule(request: pytest.FixtureRequest) -> Iterator[None]:
    """Keep every test to the schedule of --schedule-seed, where that is given."""
    seed = request.config.getoption("--schedule-seed")
    with nullcontext() if seed is None else schedule_of(seed):
        yield


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out, where a schedule is given, what runs step by step on one thread: no schedule changes it."""
    if config.getoption("--schedule-seed") is not None:
        alone = [item for item in items if getattr(getattr(item, "obj", None), "is_hypothesis_test", False)]
        config.hook.pytest_deselected(items=alone)
        items[:] = [item for item in items if item not in alone]


@pytest.fixture(params=["inline", "1+1", "2+inline", "inline+2", "4+4"])
def rig(request: pytest.FixtureRequest) -> Iterator[Rig]:
    """A manager on each shape of pools."""
    sizes = {"inline": (0, 0), "1+1": (1, 1), "2+inline": (2, 0), "inline+2": (0, 2), "4+4": (4, 4)}[request.param]
    pools = [
        ThreadPoolExecutor(size, thread_name_prefix=name) if size else InlineExecutor()
        for size, name in zip(sizes, ("load", "unload"), strict=True)
    ]
    rig = Rig(*pools)
    yield rig
    rig.manager.close(5)
    for pool in pools:
        pool.shutdown()


@pytest.fixture
def manual() -> Iterator[Rig]:
    """A manager whose pools run when told to."""
    rig = Rig(ManualExecutor(), ManualExecutor())
    yield rig
    rig.manager.close(0)


@pytest.fixture(params=[None, 1], ids=["as it comes", "seed 1"])
def threaded(request: pytest.FixtureRequest) -> Iterator[Rig]:
    """A manager on real pools, as the threads come and with pauses where they meet."""
    with (
        nullcontext() if request.param is None else schedule_of(request.param),
        ThreadPoolExecutor(2, "load") as load_pool,
        ThreadPoolExecutor(2, "unload") as unload_pool,
    ):
        rig = Rig(load_pool, unload_pool)
        yield rig
        rig.manager.close(5)


@pytest.fixture
def switch_often() -> Iterator[None]:
    """Let threads take turns fifty times as often as usual."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-4)
    yield
    sys.setswitchinterval(before)
