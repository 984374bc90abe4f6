"""Messages and file descriptors between a worker and one child process, over a pair of connected sockets."""

from __future__ import annotations

import os
import select
import socket
import time
from collections.abc import Callable, Sequence
from typing import Final, Self

from pipeline.isolation.messages import Message, decode, encode

_LENGTH_BYTES: Final = 4
_CHUNK_BYTES: Final = 16384
_DESCRIPTORS: Final = 4
_MOST_BYTES: Final = 64 << 20
# How long a look for a death waits that closes no socket: a child that has forked leaves one open behind it.
_LOOK_S: Final = 0.25


class Channel:
    """One end. One thread at a time; a question is sent when the answer to the one before has come."""

    def __init__(self, connected: socket.socket) -> None:
        self._socket = connected

    @classmethod
    def pair(cls) -> tuple[Self, socket.socket]:
        """Return the worker's end, and the socket that the child makes its end of."""
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
        return cls(ours), theirs

    def send(self, message: Message, descriptors: Sequence[int] = (), timeout_s: float | None = None) -> None:
        """Send; blocks while the other end does not read. Raises BrokenPipeError, ConnectionError or TimeoutError."""
        body = encode(message)
        data = len(body).to_bytes(_LENGTH_BYTES, "little") + body
        self._socket.settimeout(timeout_s)
        sent = socket.send_fds(self._socket, [data], descriptors) if descriptors else self._socket.send(data)
        if sent < len(data):
            self._socket.sendall(memoryview(data)[sent:])

    def receive(
        self, timeout_s: float | None = None, is_alive: Callable[[], bool] | None = None
    ) -> tuple[Message, list[int]]:
        """Return the next message and the descriptors that came with it, which the caller closes.

        Raises EOFError when the other end is gone, by its socket or by ``is_alive``, TimeoutError after ``timeout_s``,
        ValueError for bytes that are no message.
        """
        descriptors: list[int] = []
        try:
            return decode(self._read(descriptors, timeout_s, is_alive)), descriptors
        except BaseException:
            for descriptor in descriptors:
                os.close(descriptor)
            raise

    def close(self) -> None:
        """Close this end; the other one then reads the end of the stream. Idempotent."""
        self._socket.close()

    def _read(self, descriptors: list[int], timeout_s: float | None, is_alive: Callable[[], bool] | None) -> memoryview:
        """Return the bytes of one message, and append what came with it."""
        deadline_s = None if timeout_s is None else time.monotonic() + timeout_s
        self._socket.settimeout(None)
        data, size = bytearray(), _LENGTH_BYTES
        while len(data) < size:
            self._wait(deadline_s, is_alive)
            try:
                chunk, got, _, _ = socket.recv_fds(
                    self._socket, max(_CHUNK_BYTES, size - len(data)), _DESCRIPTORS, _CLOSE_ON_EXEC
                )
            except ConnectionError as error:
                raise EOFError("the other end is gone") from error
            descriptors += got
            if not chunk:
                raise EOFError("the other end is gone")
            data += chunk
            if size == _LENGTH_BYTES <= len(data):
                size += int.from_bytes(data[:_LENGTH_BYTES], "little")
                if size > _MOST_BYTES:
                    raise ValueError(f"a message of {size} bytes")
        if len(data) > size:
            raise ValueError(f"{len(data) - size} bytes after a message")
        return memoryview(data)[_LENGTH_BYTES:]

    def _wait(self, deadline_s: float | None, is_alive: Callable[[], bool] | None) -> None:
        """Wait until there is something to read, the end of the stream included."""
        if deadline_s is None and is_alive is None:
            return
        poll = select.poll()
        poll.register(self._socket, select.POLLIN)
        while True:
            left_s = _LOOK_S if deadline_s is None else min(_LOOK_S, max(0.0, deadline_s - time.monotonic()))
            if poll.poll(left_s * 1000):
                return
            if is_alive is not None and not is_alive():
                if poll.poll(0):
                    return
                raise EOFError("the other process has ended")
            if deadline_s is not None and time.monotonic() >= deadline_s:
                raise TimeoutError


_CLOSE_ON_EXEC: Final = getattr(socket, "MSG_CMSG_CLOEXEC", 0)
