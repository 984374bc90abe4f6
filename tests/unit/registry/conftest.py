from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
from registry_fakes import InlineExecutor, ManualExecutor, Rig


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


@pytest.fixture
def threaded() -> Iterator[Rig]:
    """A manager on real pools."""
    with ThreadPoolExecutor(2, "load") as load_pool, ThreadPoolExecutor(2, "unload") as unload_pool:
        rig = Rig(load_pool, unload_pool)
        yield rig
        rig.manager.close(5)
