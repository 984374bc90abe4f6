from __future__ import annotations

import gc
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from pipeline.isolation.adapter import IsolatedAdapter, IsolatedLoader
from pipeline.registry.servable import ServableId
from pipeline.servables.python import PythonAdapter

# What the number in a row makes the process do.
MODEL = """
import ctypes, os, signal, subprocess, sys, time
import numpy as np
from pipeline.errors import WrongShape

class Servable:
    inputs = {"x": ("FP32", [-1, 1])}
    outputs = {"y": ("FP32", [-1, 1]), "pid": ("INT64", [-1, 1])}

    def load(self, path):
        self.path = path
        exec((path / "load.py").read_text(), {**globals(), "self": self})

    def predict(self, inputs):
        x = inputs["x"]
        for number in x.ravel():
            self.obey(int(number))
        return {"y": x * 10, "pid": np.full(x.shape, os.getpid())}

    def obey(self, number):
        if number == 1:
            ctypes.string_at(0)
        elif number == 2:
            os.kill(os.getpid(), signal.SIGKILL)
        elif number == 3:
            time.sleep(600)
        elif number == 4:
            os._exit(7)
        elif number == 5:
            print("garbage" * 1000, flush=True)
            os.write(1, bytes(range(256)))
        elif number == 6:
            raise RuntimeError("six is not served")
        elif number == 7:
            raise WrongShape("m/1", "x", (-1, 1), (7, 7))
        elif number == 8:
            sys.exit("eight")
        elif number == 9:
            ctypes.PyDLL(None).usleep(999_999)  # with the GIL held
        elif number == -1:
            ctypes.PyDLL(None).sleep(600)  # the same
"""

Load = Callable[..., IsolatedLoader]


def write_version(path: Path, load: str = "") -> Path:
    path.mkdir()
    (path / "servable.py").write_text(MODEL)
    (path / "load.py").write_text(load)
    return path


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
