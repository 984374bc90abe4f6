"""PyTorch itself, imported on first use, and what of it belongs to the process and not to a model."""

from __future__ import annotations

import functools
import importlib
from typing import Any

from pipeline.errors import LoadFailed
from pipeline.servables.framework import imported
from pipeline.servables.triton import before_tensorflow_or_torch


def import_torch(what: str) -> Any:
    """Return the module ``torch``; raises MissingExtra in the name of ``what``. Seconds the first time."""
    before_tensorflow_or_torch()
    torch = imported(what, "torch", "PyTorch", "torch")
    default_threads()
    return torch


@functools.cache
def default_threads() -> int:
    """Return how many threads PyTorch took by itself, before any model set another number; it is imported by then.

    ``torch.set_num_threads`` holds for the thread that calls it, and for those that use PyTorch for the first time
    after it. So each prediction sees to its number, the default included: what ran before it on its thread is another
    model's business. That costs 0.1 us.
    """
    threads: int = importlib.import_module("torch").get_num_threads()
    return threads


def check_device(what: str, torch: Any, device: str) -> None:
    """Raise LoadFailed where this process has no such device."""
    kind, _, number = device.partition(":")
    count = torch.cuda.device_count() if kind == "cuda" else 1
    if int(number or 0) >= count:
        raise LoadFailed(what, f"device is {device}, and PyTorch finds {count} of CUDA on this worker")
