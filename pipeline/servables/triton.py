"""TensorFlow and PyTorch in one process, in any order: the one module of PyTorch's that must not come in late."""

from __future__ import annotations

import importlib
import importlib.util
import sys
import threading
from pathlib import Path
from typing import Final

_LOCK: Final = threading.Lock()
_NVIDIA: Final = Path("/proc/driver/nvidia/version")


def before_tensorflow_or_torch() -> None:
    """Keep the LLVM of Triton from meeting that of TensorFlow; call it before the import of either, on any thread.

    PyTorch imports ``triton`` when it first loads or makes an exported program. Where TensorFlow was loaded before it,
    the process dies of a segmentation fault (tensorflow 2.21, torch 2.13, triton 3.7). Without a GPU PyTorch has no use
    for it, so it is hidden; with one it is imported now, first of the three. Cheap when called again.
    """
    with _LOCK:
        if "triton" in sys.modules or importlib.util.find_spec("triton") is None:
            return
        if _NVIDIA.exists():
            importlib.import_module("triton")
        else:
            # What the import system reads as: there is no such module.
            sys.modules["triton"] = None  # type: ignore[assignment]  # documented at import, not in sys.modules' type
