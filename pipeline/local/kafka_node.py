"""One node of a local Kafka: its settings, its storage and its Java process."""

from __future__ import annotations

import socket
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

from pipeline.local.child import Child
from pipeline.local.errors import LocalBrokerError
from pipeline.local.jars import java

if TYPE_CHECKING:
    from collections.abc import Mapping

# One small server that starts fast and shares its machine: one thread for memory, no second compiler.
_JVM = (
    "-Xmx512m",
    "-XX:+UseSerialGC",
    "-XX:TieredStopAtLevel=1",
    "-Djava.awt.headless=true",
    # Kafka 4.1 unmaps files by a method that Java 25 warns of, four lines at each start.
    "--sun-misc-unsafe-memory-access=allow",
)

# Warnings and what matters of a node's life; the process's output is the log file.
_LOG4J = """\
status = error
appender.out.type = Console
appender.out.name = out
appender.out.layout.type = PatternLayout
appender.out.layout.pattern = %d %p %c{1}: %m%n
rootLogger.level = warn
rootLogger.appenderRef.out.ref = out
logger.life.name = kafka.server.KafkaRaftServer
logger.life.level = info
"""

_STOP_TIMEOUT_S = 10
_FORMAT_TIMEOUT_S = 60
_LOG_TAIL_LINES = 30


class KafkaNode:
    """A broker and controller in one process. Its folder outlives the process: what was written is there after a start.

    Methods block until done, and may be called from any thread, one at a time.
    """

    def __init__(self, node_id: int, folder: Path, port: int, class_path: str, settings: Mapping[str, str]) -> None:
        """``settings`` is the complete server.properties but for node.id and log.dirs."""
        self.node_id = node_id
        self.port = port
        self.log_path = folder / "kafka.log"
        self._folder = folder
        self._class_path = class_path
        self._settings = {**settings, "node.id": str(node_id), "log.dirs": str(folder / "data")}
        self._child: Child | None = None

    @property
    def is_running(self) -> bool:
        """Whether the process is there; it may not accept connections yet."""
        return self._child is not None and self._child.exit_code is None

    @property
    def pid(self) -> int | None:
        """The Java process's id; None before the first start."""
        return self._child.pid if self._child else None

    def start(self, cluster_id: str) -> None:
        """Start the process, and make its storage the first time. Does not wait until it takes requests.

        Nothing happens when it is running. Raises LocalBrokerError when the storage can not be made.
        """
        if self.is_running:
            return
        if self._child:
            self._child.kill()  # it died by itself; release what watched it
        self._folder.mkdir(parents=True, exist_ok=True)
        properties = self._folder / "server.properties"
        properties.write_text("".join(f"{key}={_escaped(value)}\n" for key, value in self._settings.items()))
        (self._folder / "log4j2.properties").write_text(_LOG4J)
        if not (self._folder / "data" / "meta.properties").exists():
            self._format(cluster_id, properties)
        self._child = Child([*self._java(), "kafka.Kafka", properties], self.log_path)

    def accepts_connections(self) -> bool:
        """Whether something listens at its port. LocalBrokerError, with the end of its log, when it has ended."""
        if not self.is_running:
            raise self.failure("has ended" if self._child is None else f"ended with exit code {self._child.exit_code}")
        try:
            socket.create_connection(("127.0.0.1", self.port), timeout=1).close()
        except OSError:
            return False
        return True

    def failure(self, what: str) -> LocalBrokerError:
        """An error that says what happened to this node and ends with the end of its log."""
        lines = self.log_path.read_text(errors="replace").splitlines() if self.log_path.exists() else []
        tail = "\n".join(lines[-_LOG_TAIL_LINES:]) or "(empty)"
        return LocalBrokerError(f"Kafka node {self.node_id} at port {self.port} {what}; the end of its log:\n{tail}")

    def stop(self) -> None:
        """Shut down in order: leadership moves, logs are closed; killed when that takes too long."""
        if self._child:
            self._child.stop(_STOP_TIMEOUT_S)

    def kill(self) -> None:
        """End it as a power cut would (SIGKILL)."""
        if self._child:
            self._child.kill()

    def _java(self) -> list[str | Path]:
        return [
            java(),
            *_JVM,
            f"-Dlog4j2.configurationFile={self._folder / 'log4j2.properties'}",
            "-cp",
            self._class_path,
        ]

    def _format(self, cluster_id: str, properties: Path) -> None:
        argv = [*self._java(), "kafka.tools.StorageTool", "format", "-t", cluster_id, "-c", properties]
        done = subprocess.run(  # noqa: S603  # a fixed program, no shell
            argv, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=_FORMAT_TIMEOUT_S, check=False
        )
        if done.returncode != 0:
            raise LocalBrokerError(f"can not make Kafka's storage in {self._folder}:\n{done.stdout}{done.stderr}")


def _escaped(value: str) -> str:
    """A value as Java's properties format wants it."""
    return value.replace("\\", "\\\\").replace("\n", "\\n")
