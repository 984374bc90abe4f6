"""Real worker processes, started by their ordinary command, on topics and a model directory of their own."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import urllib.error
import urllib.request
import uuid
from collections.abc import Iterable, Mapping
from functools import partial
from pathlib import Path
from typing import Any, Self

import yaml

from pipeline.control.fleet import Fleet, read_fleet
from pipeline.control.logs import logs_of
from pipeline.local.ports import free_ports
from pipeline.records import ServableState, State
from pipeline.redis_address import is_redis
from pipeline.settings import Settings, load
from tests import waiting

DEADLINE_S = 90.0
# A process takes its time to start, and what is asked of it costs it something.
wait_for = partial(waiting.wait_for, timeout_s=DEADLINE_S, every_s=0.05)


class Deployment:
    """One penstock.yaml with topics, a watcher and workers; everything is stopped at its end.

    ``bootstrap`` is the address of a Kafka, or the URL of a Redis: then no Kafka is named anywhere.
    """

    def __init__(self, folder: Path, bootstrap: str, sections: Mapping[str, Any]) -> None:
        self.folder, self.bootstrap = folder, bootstrap
        self.models = folder / "models"
        self.models.mkdir(exist_ok=True)
        unique = uuid.uuid4().hex[:8]
        self.topics = {
            "control": {"aspired_topic": f"aspired-{unique}", "states_topic": f"states-{unique}"},
        }
        routes = {
            name: {
                "request_topic": f"{name}-{unique}.q",
                "result_topic": f"{name}-{unique}.r",
                "dead_letter_topic": f"{name}-{unique}.d",
                "group": f"{name}-{unique}",
                **route,
            }
            for name, route in sections["routes"].items()
        }
        if is_redis(bootstrap):
            broker = {"redis": {"url": bootstrap}}
            routes = {name: {"connector": "redis", **route} for name, route in routes.items()}
        else:
            broker = {"kafka": {"bootstrap.servers": bootstrap, "session.timeout.ms": 6000}}
        tree = {
            **broker,
            **self.topics,
            **sections,
            "routes": routes,
        }
        self.config = folder / "penstock.yaml"
        self.config.write_text(yaml.safe_dump(tree))
        self.settings: Settings = load(self.config, os.environ)
        self._processes: list[Process] = []
        self.run("topics", "--create", "--partitions", "4")

    def run(self, *arguments: str, **options: Any) -> subprocess.CompletedProcess[str]:
        """Run a command to its end; fail when it fails."""
        done = self.attempt(*arguments, **options)
        assert done.returncode == 0, f"{arguments}: {done.returncode}\n{done.stdout}\n{done.stderr}"
        return done

    def attempt(self, *arguments: str, **options: Any) -> subprocess.CompletedProcess[str]:
        """Run a command to its end, however it ends."""
        return subprocess.run(
            [sys.executable, "-m", "pipeline.commands", *arguments, "--config", str(self.config)],
            capture_output=True,
            text=True,
            timeout=60,
            cwd=self.folder,
            check=False,
            **options,
        )

    def worker(self, name: str, *arguments: str) -> Worker:
        """Start a worker."""
        worker = Worker(self, name, arguments)
        self._processes.append(worker)
        return worker

    def watcher(self) -> Process:
        """Start `penstock watch`."""
        return self.process("watch", "watch")

    def process(self, name: str, *arguments: str) -> Process:
        """Start a command that runs on."""
        process = Process(name, self, ["-m", "pipeline.commands", *arguments, "--config", str(self.config)])
        self._processes.append(process)
        return process

    def front_end(self, *arguments: str) -> FrontEnd:
        """Start `penstock front-end`."""
        front_end = FrontEnd(self, arguments)
        self._processes.append(front_end)
        return front_end

    def states(self) -> dict[tuple[str, str, int], ServableState]:
        """Return the last state of every version on every worker, of its last incarnation."""
        return {(s.worker, s.stream, s.version): s for s in self.fleet().states}

    def fleet(self) -> Fleet:
        """Return what the states topic holds."""
        return read_fleet(logs_of(self.settings), self.settings.control.states_topic)

    def wait_for_state(self, workers: Iterable[str], stream: str, version: int, state: State) -> list[ServableState]:
        """Wait until a version has a state on all of these workers."""
        keys = [(worker, stream, version) for worker in workers]

        def reached() -> list[ServableState] | None:
            states = self.states()
            found = [states[key] for key in keys if key in states and states[key].state == state]
            return found if len(found) == len(keys) else None

        found: list[ServableState] = wait_for(f"{stream}/{version} {state}", reached, every_s=0.2)
        return found

    def drop(self, stream: str, version: int, files: Mapping[str, bytes]) -> None:
        """Put a version into the model directory as a user should: under another name, then renamed."""
        target = self.models / stream / str(version)
        partial = target.with_name(f".{version}.partial")
        partial.mkdir(parents=True)
        for name, data in files.items():
            (partial / name).write_bytes(data)
        partial.rename(target)

    def close(self) -> None:
        """Stop every process."""
        for process in self._processes:
            process.kill()
        shutil.rmtree(self.models, ignore_errors=True)


class Process:
    """One process with its log."""

    def __init__(self, name: str, deployment: Deployment, arguments: list[str]) -> None:
        self.name = name
        self._log_path = deployment.folder / f"{name}-{uuid.uuid4().hex[:4]}.log"
        # As a package of the user's own would be found: from the working directory.
        environ = {**os.environ, "PYTHONPATH": str(deployment.folder), "PYTHONUNBUFFERED": "1"}
        with self._log_path.open("wb") as log:
            self.popen = subprocess.Popen(
                [sys.executable, *arguments],
                stdout=log,
                stderr=subprocess.STDOUT,
                cwd=deployment.folder,
                env=environ,
            )

    @property
    def log(self) -> str:
        """Return what it has printed."""
        return self._log_path.read_text(errors="replace")

    def signal(self, number: signal.Signals) -> None:
        """Send a signal."""
        self.popen.send_signal(number)

    def wait(self, timeout_s: float = DEADLINE_S) -> int:
        """Return its exit status; fail with its log when it does not end."""
        try:
            return self.popen.wait(timeout_s)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"{self.name} did not end within {timeout_s:g} s:\n{self.log}") from None

    def kill(self) -> None:
        """SIGKILL."""
        self.popen.kill()
        self.popen.wait(10)


class Server(Process):
    """A process with pages; ready when they say so."""

    port: int

    def get(self, path: str, body: bytes | None = None) -> tuple[int, str]:
        """Return status and body of one of its pages, of a POST where there is a body; 0 while it does not listen."""
        limit_s = 5 if body is None else DEADLINE_S
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}{path}", body, timeout=limit_s) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode()
        except OSError:
            return 0, ""

    def wait_until_ready(self) -> Self:
        """Wait until it takes requests."""

        def ready() -> bool:
            assert self.popen.poll() is None, f"{self.name} ended with {self.popen.returncode}:\n{self.log}"
            return self.get("/ready")[0] == 200

        wait_for(f"{self.name} ready", ready)
        return self


class Worker(Server):
    """One worker, with all of its routes."""

    def __init__(self, deployment: Deployment, name: str, arguments: Iterable[str]) -> None:
        [self.port] = free_ports(1)
        command = ["-m", "pipeline.commands", "worker", "--config", str(deployment.config)]
        super().__init__(name, deployment, [*command, "--id", name, "--web-port", str(self.port), *arguments])

    def versions(self) -> dict[str, list[int]]:
        """Return what it serves."""
        found: dict[str, list[int]] = json.loads(self.get("/versions")[1] or "{}")
        return found


class FrontEnd(Server):
    """One HTTP front end."""

    def __init__(self, deployment: Deployment, arguments: Iterable[str]) -> None:
        [self.port] = free_ports(1)
        command = ["-m", "pipeline.commands", "front-end", "--config", str(deployment.config)]
        super().__init__("front-end", deployment, [*command, "--port", str(self.port), *arguments])

    @property
    def url(self) -> str:
        """What its clients are told."""
        return f"http://127.0.0.1:{self.port}"
