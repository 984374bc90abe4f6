"""The weights of an IR, in memory of our own: how they come from the file, and how they go."""

from __future__ import annotations

import importlib
import mmap
import os
import threading
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

import numpy as np

from pipeline.anonymous_file import anonymous_file
from pipeline.errors import InvalidArtefact

# Between two of these a close is noticed.
_PIECE_BYTES: Final = 64 << 20


class Weights:
    """The bytes of a ``.bin``: copied, because a mapped file takes the process down when somebody shortens it in place.

    A model computes on them where they lie and keeps no reference to them: ``close`` comes after the last model.
    OpenVINO frees its own with the GIL, for 0.1 to 0.8 s a gigabyte. The kernel copies from file to file, 94 MB in 35
    to 50 ms on one core: reading them into fresh memory faults for every page, which took 77 ms, and held up whatever
    the rest of the process mapped meanwhile, an import for example. In huge pages it took 15 to 490 ms.
    """

    def __init__(self, what: str, file: Path) -> None:
        """Begin to copy the file, on a thread of its own and without the GIL. Raises OSError."""
        self._what, self._name = what, file.name
        self._is_closed = threading.Event()
        self._tensor: Any = None
        with file.open("rb", buffering=0) as opened:
            self._size_bytes = os.fstat(opened.fileno()).st_size
            descriptor = anonymous_file()
            try:
                os.ftruncate(descriptor, max(self._size_bytes, 1))
                self._memory = mmap.mmap(descriptor, max(self._size_bytes, 1))
                source = os.dup(opened.fileno())
            except BaseException:
                os.close(descriptor)
                raise
        copier = ThreadPoolExecutor(1, "penstock-weights")
        self._copied_bytes = copier.submit(self._copy, source, descriptor)
        copier.shutdown(wait=False)  # it ends with the copy

    def tensor(self) -> Any:
        """Return them as an ``openvino.Tensor`` when all are there.

        Raises InvalidArtefact where the file has become shorter meanwhile, OSError where it can not be read.
        """
        if self._tensor is None:
            copied_bytes = self._copied_bytes.result()
            if copied_bytes != self._size_bytes:
                reason = f"{self._name} had {self._size_bytes} bytes, and {copied_bytes} of them could be read"
                raise InvalidArtefact(self._what, reason)
            bytes_ = np.frombuffer(self._memory, np.uint8, self._size_bytes)
            self._tensor = importlib.import_module("openvino").Tensor(bytes_, shared_memory=True)
        return self._tensor

    def close(self) -> None:
        """Give the memory back to the system, without the GIL, whether or not all has been copied."""
        self._is_closed.set()
        wait([self._copied_bytes])
        self._tensor = None
        with suppress(BufferError):  # an error's traceback has the tensor; the memory goes with that
            self._memory.close()

    def _copy(self, source: int, target: int) -> int:
        """Return how many bytes there were; closes both descriptors."""
        try:
            done = 0
            while done < self._size_bytes and not self._is_closed.is_set():
                copied = self._piece(source, target, done)
                if not copied:
                    break
                done += copied
            return done
        finally:
            os.close(source)
            os.close(target)

    def _piece(self, source: int, target: int, start: int) -> int:
        end = min(start + _PIECE_BYTES, self._size_bytes)
        with suppress(OSError):  # a file system, or a system, that copies to sockets only
            os.lseek(target, start, os.SEEK_SET)
            return os.sendfile(target, source, start, end - start)
        with memoryview(self._memory) as whole, whole[start:end] as piece:
            return os.preadv(source, [piece], start)
