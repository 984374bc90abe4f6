"""What a user would start by hand: a settings file, a worker, a watcher; and an eye on the states topic."""

from __future__ import annotations

import os
import shutil
import sys
import sysconfig
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Self

import yaml

from pipeline import settings as settings_module
from pipeline.control.fleet import FleetFollower
from pipeline.control.kafka_logs import KafkaLogs
from pipeline.local.child import Child
from pipeline.local.ports import free_ports
from pipeline.records import State

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from types import TracebackType

    from pipeline.demo.broker import Broker
    from pipeline.records import ServableState
    from pipeline.settings import Scalar

STREAM: Final = "digits"
_STOP_TIMEOUT_S: Final = 10.0
_LOG_TAIL_LINES: Final = 25
_LOAD_TIMEOUT_S: Final = 60.0
_POLL_S: Final = 0.05
_PORT: Final = 6066


class StageFailed(RuntimeError):
    """A part of the demo did not do what it should; the message ends with the tail of its log, where it has one."""


class Stage:
    """A folder with ``models/digits``, ``penstock.yaml`` and logs; a worker and a watcher that run on it.

    A context manager: entering it makes the folder only; leaving it stops the processes, the worker first, and removes
    the folder. One that ``keep`` named stays, ready to be served by hand. The processes end with this one, whatever
    ends it.
    """

    def __init__(self, broker: Broker, keep: Path | None = None) -> None:
        self._broker = broker
        self._keep = keep
        self._exits = ExitStack()
        self._children: dict[str, Child] = {}
        self.folder = Path()
        self._fatal: list[Exception] = []
        self._states = FleetFollower(KafkaLogs(broker.kafka), self._states_topic(), "penstock-demo", self._fatal.append)

    def __enter__(self) -> Self:
        if self._keep is None:
            self.folder = Path(tempfile.mkdtemp(prefix="penstock-demo-"))
            self._exits.callback(shutil.rmtree, self.folder, ignore_errors=True)
        else:
            self.folder = self._keep.resolve()
        self.models.mkdir(parents=True)
        (self.folder / "prepared").mkdir()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._exits.close()
        if self._keep is not None:
            self._settle_down()

    @property
    def models(self) -> Path:
        """The base path of the stream; below it, a directory per version."""
        return self.folder / "models" / STREAM

    def prepared(self, version: int) -> Path:
        """Where a version is written, on the same file system, before ``drop`` moves it into place at once."""
        return self.folder / "prepared" / str(version)

    def drop(self, version: int) -> None:
        """Put a prepared version into place, as everybody should: complete, by one rename."""
        self.prepared(version).rename(self.models / str(version))

    def start(self) -> None:
        """Create the topics, start the worker and the watcher, and return when version 1 is AVAILABLE."""
        path = self._write_settings(self._broker.kafka, self._broker.route, self._broker.control, free_ports(1)[0])
        self._broker.create_topics(settings_module.load(path))
        self._states.start()
        self._exits.callback(self._states.stop)
        for command in ("watch", "worker"):
            child = Child(_command(command, path), self._log_path(command))
            self._children[command] = child
            self._exits.callback(child.stop, _STOP_TIMEOUT_S)
        self.wait(lambda: self.is_in(1, State.AVAILABLE), _LOAD_TIMEOUT_S, "version 1 did not become AVAILABLE")

    def state(self, version: int) -> ServableState | None:
        """Return the last state of a version; None while nothing is known of it. Any thread may ask."""
        of_version = [
            found for found in self._states.fleet().states if found.stream == STREAM and found.version == version
        ]
        return of_version[-1] if of_version else None

    def describe(self, version: int) -> str:
        """Return the state of a version for people: END says whether it was replaced or refused."""
        found = self.state(version)
        if found is None:
            return "-"
        if found.state == State.END:
            return "END (refused)" if found.error else "END (replaced)"
        return found.state.value

    def is_in(self, version: int, state: State) -> bool:
        """Return whether a version is in that state."""
        found = self.state(version)
        return found is not None and found.state == state

    def check(self) -> None:
        """Raise StageFailed when a process has ended or the states can not be read."""
        for name, child in self._children.items():
            if child.exit_code is not None:
                raise self.failure(f"`penstock {name}` ended with exit code {child.exit_code}", name)
        if self._fatal:
            raise StageFailed(f"the states topic can not be read: {self._fatal[0]}")

    def wait(self, is_done: Callable[[], bool], timeout_s: float, otherwise: str) -> None:
        """Return when ``is_done``; StageFailed, saying ``otherwise``, after ``timeout_s`` or when a process ends."""
        deadline_s = time.monotonic() + timeout_s
        while not is_done():
            self.check()
            if time.monotonic() > deadline_s:
                raise self.failure(f"{otherwise} within {timeout_s:g} s")
            time.sleep(_POLL_S)

    def failure(self, what: str, name: str = "worker") -> StageFailed:
        """Return the error of a stage that failed, with the tail of the log of the process ``name``."""
        path = self._log_path(name)
        lines = path.read_text("utf-8", "replace").splitlines() if path.exists() else []
        tail = "\n".join(f"    {line}" for line in lines[-_LOG_TAIL_LINES:]) or "    (empty)"
        return StageFailed(f"{what}; the end of the log of `penstock {name}`:\n{tail}")

    def _settle_down(self) -> None:
        # The latest version is what a new worker loads, so the broken one goes back; version 2 may be missing by now.
        if (self.models / "3").exists():
            (self.models / "3").rename(self.prepared(3))
        self._write_settings({"bootstrap.servers": "localhost:9092"}, STREAM, {}, _PORT)

    def _log_path(self, name: str) -> Path:
        return self.folder / f"{name}.log"

    def _states_topic(self) -> str:
        return self._broker.control.get("states_topic", settings_module.ControlSettings().states_topic)

    def _write_settings(self, kafka: Mapping[str, Scalar], route: str, control: Mapping[str, str], port: int) -> Path:
        tree: dict[str, Any] = {
            "kafka": dict(kafka),
            "servables": {STREAM: {"base_path": f"models/{STREAM}", "kind": "openvino"}},
            "routes": {route: {"servable": STREAM}},
        }
        if control:
            tree["control"] = dict(control)
        if port != _PORT:
            tree["worker"] = {"id": "demo", "web_port": port}
        path = self.folder / settings_module.FILE_NAME
        path.touch(mode=0o600)  # the user's own Kafka may need a password
        path.write_text(
            f"# Written by `penstock demo`; relative paths start here.\n{yaml.safe_dump(tree, sort_keys=False)}"
        )
        return path


def _command(name: str, settings: Path) -> list[str | Path]:
    """Return the ordinary command, with nothing of this shell's own Penstock settings."""
    script = Path(sysconfig.get_path("scripts")) / "penstock"
    penstock: list[str | Path] = [script] if script.exists() else [sys.executable, "-m", "pipeline.commands"]
    unset = [
        argument for variable in sorted(os.environ) if variable.startswith("PENSTOCK_") for argument in ("-u", variable)
    ]
    return ["/usr/bin/env", *unset, *penstock, name, "--config", settings]
