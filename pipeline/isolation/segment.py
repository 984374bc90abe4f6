"""Shared memory: a segment, and the arena of whoever writes, one segment at a time of about the right size."""

from __future__ import annotations

import fcntl
import mmap
import os
from typing import Final

from pipeline.anonymous_file import CAN_BE_SEALED, anonymous_file

_LEAST_BYTES: Final = 1 << 16
# After so many calls that needed a quarter or less of it, an arena is made smaller.
CALLS: Final = 100


class Segment:
    """Memory that both processes have mapped; it goes when neither has a view of it. Never on disk on Linux."""

    def __init__(self, memory: mmap.mmap) -> None:
        self.memory = memory

    @property
    def size_bytes(self) -> int:
        """How large it is; constant."""
        return len(self.memory)

    @classmethod
    def create(cls, size_bytes: int) -> tuple[Segment, int]:
        """Return a new segment, and the descriptor by which the other process gets it; the caller closes that."""
        descriptor = anonymous_file()
        try:
            os.ftruncate(descriptor, size_bytes)
            if CAN_BE_SEALED:  # else a reader could be killed by a writer that makes it shorter
                fcntl.fcntl(descriptor, fcntl.F_ADD_SEALS, fcntl.F_SEAL_SHRINK)
            return cls(mmap.mmap(descriptor, size_bytes)), descriptor
        except BaseException:
            os.close(descriptor)
            raise

    @classmethod
    def attach(cls, descriptor: int) -> Segment:
        """Return the other side's segment, for reading; closes the descriptor. Raises ValueError if it is none."""
        try:
            if CAN_BE_SEALED and not fcntl.fcntl(descriptor, fcntl.F_GET_SEALS) & fcntl.F_SEAL_SHRINK:
                raise ValueError("a segment that can be made shorter")
            return cls(mmap.mmap(descriptor, os.fstat(descriptor).st_size, access=mmap.ACCESS_READ))
        except OSError as error:
            raise ValueError(f"no segment: {error}") from error
        finally:
            os.close(descriptor)


class Arena:
    """The memory that one side writes its tensors to, used again for each call; one thread at a time.

    It grows when a call needs more, and shrinks when many calls in a row needed much less: then it is another segment,
    whose descriptor goes to the other side with the next message.
    """

    def __init__(self) -> None:
        self._segment: Segment | None = None
        self._descriptor: int | None = None
        self._calls = 0
        self._peak_bytes = 0

    @property
    def size_bytes(self) -> int:
        """What it holds now; 0 before the first call."""
        return 0 if self._segment is None else self._segment.size_bytes

    def room(self, size_bytes: int) -> mmap.mmap:
        """Return memory for a call that needs so much; what the call before wrote may be gone."""
        self._calls += 1
        self._peak_bytes = max(self._peak_bytes, size_bytes)
        wanted_bytes = capacity(self.size_bytes, size_bytes, self._calls, self._peak_bytes)
        if self._calls >= CALLS:
            self._calls = self._peak_bytes = 0
        if self._segment is None or wanted_bytes != self.size_bytes:
            self.close()
            self._segment, self._descriptor = Segment.create(wanted_bytes)
        return self._segment.memory

    def take_descriptor(self) -> list[int]:
        """Return the descriptor that the other side does not have yet, or none; the caller sends and closes it."""
        descriptor, self._descriptor = self._descriptor, None
        return [] if descriptor is None else [descriptor]

    def close(self) -> None:
        """Let go of the memory. Idempotent."""
        for descriptor in self.take_descriptor():
            os.close(descriptor)
        self._segment = None


def capacity(has_bytes: int, needed_bytes: int, calls: int, peak_bytes: int) -> int:
    """Return how large an arena should be that has ``has_bytes``, for a call that needs ``needed_bytes``.

    A power of two: pages that are never written to take no memory. ``peak_bytes`` is the most that the last ``calls``
    needed, this one included.
    """
    if needed_bytes > has_bytes or not has_bytes:
        return _rounded(needed_bytes)
    if calls >= CALLS and _rounded(peak_bytes) <= has_bytes // 4:
        return _rounded(peak_bytes)
    return has_bytes


def _rounded(size_bytes: int) -> int:
    return max(_LEAST_BYTES, 1 << (size_bytes - 1).bit_length())
