"""The weights of an IR, in memory of our own: how they come from the file, and how they go."""

from __future__ import annotations

import importlib
import mmap
import os
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

import numpy as np

from pipeline.errors import InvalidArtefact

# Two threads copy twice as fast as one. Pieces of this size leave the page table's lock to others now and then.
_THREADS: Final = 2
_PIECE_BYTES: Final = 16 << 20


class Weights:
    """The bytes of a ``.bin``: read, because a mapped file takes the process down when somebody shortens it in place.

    A model computes on them where they lie and keeps no reference to them: ``close`` comes after the last model.
    OpenVINO frees its own with the GIL, for 0.1 to 0.8 s a gigabyte. Not in huge pages: where memory is in pieces, the
    kernel puts it together first. 94 MB took 24 to 490 ms then, and 61 in ordinary ones.
    """

    def __init__(self, what: str, file: Path) -> None:
        """Read the file. Raises InvalidArtefact where it becomes shorter meanwhile. Blocks, without the GIL."""
        size = file.stat().st_size
        self._memory = mmap.mmap(-1, max(size, 1), flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
        with memoryview(self._memory) as whole, whole[:size] as view:
            read_bytes = _fill(view, file)
        if read_bytes != size:
            self._memory.close()
            raise InvalidArtefact(what, f"{file.name} had {size} bytes, and {read_bytes} of them could be read")
        bytes_ = np.frombuffer(self._memory, np.uint8, size)
        self.tensor: Any = importlib.import_module("openvino").Tensor(bytes_, shared_memory=True)

    def close(self) -> None:
        """Give the memory back to the system, without the GIL."""
        self.tensor = None
        with suppress(BufferError):  # an error's traceback has the tensor; the memory goes with that
            self._memory.close()


def _fill(view: memoryview, file: Path) -> int:
    """Copy the file into ``view``, which is as long, and return how many bytes there were."""
    places = range(0, len(view), _PIECE_BYTES)
    with file.open("rb", buffering=0) as opened, ThreadPoolExecutor(_THREADS) as pool:

        def copy(place: int) -> int:
            return os.preadv(opened.fileno(), [view[place : place + _PIECE_BYTES]], place)

        return sum(pool.map(copy, places))
