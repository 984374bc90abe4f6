"""The one import of TensorFlow: after what must come before it, and without the noise of its start."""

from __future__ import annotations

import os
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

from pipeline.servables.framework import imported
from pipeline.servables.triton import before_tensorflow_or_torch

_LOCK: Final = threading.Lock()
# What it prints before it reads TF_CPP_MIN_LOG_LEVEL: messages of level INFO, and what announces them.
_NOISE: Final = re.compile(rb"I\d{4} |WARNING: All log messages before absl::InitializeLog|To enable the following")


def import_tensorflow(what: str) -> Any:
    """Return the module ``tensorflow``; raises MissingExtra in the name of ``what`` where it can not be imported.

    The first call takes seconds and 600 MB, and Python's lock for up to 0.8 s at a time. It hides TensorFlow's messages
    of level INFO for the life of the process, unless TF_CPP_MIN_LOG_LEVEL is set.
    """
    with _LOCK:
        before_tensorflow_or_torch()
        os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "1")
        os.environ.setdefault("KERAS_BACKEND", "tensorflow")
        with _without_noise():
            return imported(what, "tensorflow", "TensorFlow", "tensorflow")


@contextmanager
def _without_noise() -> Iterator[None]:
    """Pass what the process writes to its standard error on, line by line, less TensorFlow's start-up messages."""
    original = os.dup(2)
    reading, writing = os.pipe()
    thread = threading.Thread(target=_filter, args=(reading, original), name="tensorflow-start-up", daemon=True)
    thread.start()
    os.dup2(writing, 2)
    os.close(writing)
    try:
        yield
    finally:
        os.dup2(original, 2)  # closes the last end of the pipe that is written to
        thread.join()
        os.close(original)


def _filter(reading: int, original: int) -> None:
    with os.fdopen(reading, "rb") as lines:
        for line in lines:
            if not _NOISE.match(line):
                os.write(original, line)
