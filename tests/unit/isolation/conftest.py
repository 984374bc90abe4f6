from __future__ import annotations

import gc
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from obedient import write_version

from pipeline.isolation.adapter import IsolatedAdapter, IsolatedLoader
from pipeline.registry.servable import ServableId
from pipeline.servables.python import PythonAdapter

Load = Callable[..., IsolatedLoader]


@pytest.fixture
def loader_of(tmp_path: Path) -> Iterator[Load]:
    """Make a loader of a version whose load runs ``code``; what is loaded is unloaded when the test ends."""
    made: list[IsolatedLoader] = []

    def make(code: str = "", **settings: Any) -> IsolatedLoader:
        path = write_version(tmp_path / str(len(made)), code)
        adapter = IsolatedAdapter(PythonAdapter(), **settings)
        made.append(adapter.loader(ServableId("m", 1), path, {"allow_code_in_version": True}))
        return made[-1]

    yield make
    for loader in made:
        loader.unload()
    made.clear()
    gc.collect()
