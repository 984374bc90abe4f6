"""The bytes of one table while it is read: in memory, and in files without a name once they are many."""

from __future__ import annotations

import mmap
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from types import TracebackType
from typing import IO, Any, Final, Self

import numpy as np

from pipeline.errors import InvalidArtefact
from pipeline.tensors import Array

_SLICE_ROWS: Final = 1 << 18


class Workspace:
    """The buffers of one table, in a ``with`` block. Used by one thread. ``what`` is whom an error names.

    The files are in the directory for temporary files (``TMPDIR``) and have no name there: they are gone with the last
    that refers to them, with the process at the latest, however it ends.
    """

    def __init__(self, what: str, memory_map_above_bytes: int, max_table_bytes: int) -> None:
        self._what = what
        self._map_above_bytes = memory_map_above_bytes
        self._max_bytes = max_table_bytes
        self._files = ExitStack()
        self.size_bytes = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._files.close()

    @property
    def is_mapped(self) -> bool:
        """Whether there are so many bytes that they belong into files; once true, it stays so."""
        return self.size_bytes > self._map_above_bytes

    def buffer(self) -> Buffer:
        """Return a new, empty buffer."""
        return Buffer(self)

    def keep(self, dtype: np.dtype[Any], arrays: Iterable[Array]) -> Array:
        """Return these arrays as one [elements], read-only."""
        buffer = self.buffer()
        for array in arrays:
            buffer.append(array.astype(dtype, copy=False).tobytes())
        return np.frombuffer(buffer.finish(), dtype)

    def open_file(self) -> IO[bytes]:
        """Return a new file without a name; it is open until the end of the block, and what maps it may live on."""
        return self._files.enter_context(tempfile.TemporaryFile(buffering=0))

    def count(self, more_bytes: int) -> None:
        """Note that the table grows; raise InvalidArtefact where it becomes larger than is allowed."""
        self.size_bytes += more_bytes
        if self.size_bytes > self._max_bytes:
            reason = f"the table needs more than {self._max_bytes} bytes; raise max_table_bytes in its options"
            raise InvalidArtefact(self._what, reason)


class Buffer:
    """Bytes that grow at their end. Raises InvalidArtefact for too many, and OSError where there is no room."""

    def __init__(self, workspace: Workspace) -> None:
        self._workspace = workspace
        self._parts: list[bytes] = []
        self._file: IO[bytes] | None = None

    def append(self, data: bytes) -> None:
        """Add bytes."""
        self._workspace.count(len(data))
        self._parts.append(data)
        if self._workspace.is_mapped:
            self._move()

    def finish(self) -> bytes | mmap.mmap:
        """Return all bytes; slices of them are bytes. Called once, at the end."""
        if self._workspace.is_mapped:
            self._move()
        parts, self._parts = self._parts, []
        file, self._file = self._file, None
        if file is None:
            return b"".join(parts)
        return mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) if file.tell() else b""

    def _move(self) -> None:
        if self._file is None:
            self._file = self._workspace.open_file()
        for part in self._parts:
            view = memoryview(part)
            while view:  # without a buffer of its own, a write may stop half-way
                view = view[self._file.write(view) :]
        self._parts.clear()


def slices(rows: int) -> Iterator[slice]:
    """Yield slices that cover this many rows, none so large that the GIL is held for long over it."""
    for start in range(0, rows, _SLICE_ROWS):
        yield slice(start, min(start + _SLICE_ROWS, rows))
