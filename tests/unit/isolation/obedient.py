"""A servable that does to its process what the numbers in its rows say, and how to ask it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from pipeline.registry.servable import Servable

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


def write_version(path: Path, load: str = "") -> Path:
    path.mkdir()
    (path / "servable.py").write_text(MODEL)
    (path / "load.py").write_text(load)
    return path


def ask(servable: Servable, *numbers: int) -> Any:
    return servable.predict("serving_default", {"x": np.array([[number] for number in numbers], np.float32)})


def is_asleep(pid: int) -> bool:
    """Whether the main thread of a process sleeps for a time that it has named."""
    return "nanosleep" in Path(f"/proc/{pid}/wchan").read_text()


def is_there(pid: int) -> bool:
    """Whether a process runs; one that nobody has waited for yet does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False
