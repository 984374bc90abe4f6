"""The published clients: their environments, made once, and a process for each that is driven from here."""

from __future__ import annotations

import fcntl
import json
import subprocess
import sys
from pathlib import Path
from typing import Any, Final, NamedTuple, Self

from tests.acceptance.installing import ROOT, environ_of_a_user, run

# What both clients were found to work with; newer NumPy and httpx break parts of them (docs/cluster-serving.md).
_PINS: Final = (
    "numpy==1.24.4",
    "pyarrow==17.0.0",
    "redis==8.1.0",
    "opencv-python-headless==4.11.0.86",
    "httpx==0.14.3",
    "kafka-python==3.0.12",
    "pyyaml",
)
_FOLDER: Final = ROOT / ".venv" / "clients"
_DRIVER: Final = Path(__file__).with_name("driver.py")


class Published(NamedTuple):
    """A client as it is published."""

    requirement: str
    module: str
    refuses_when_full: bool  # or drops without a word

    @property
    def python(self) -> Path:
        """Its environment's interpreter; makes the environment where there is none yet."""
        folder = _FOLDER / self.requirement
        made = folder / ".made"
        wanted = "\n".join((self.requirement, *_PINS))
        _FOLDER.mkdir(exist_ok=True, parents=True)
        with folder.with_suffix(".lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)  # tests run in several processes
            if not made.exists() or made.read_text() != wanted:
                run(sys.executable, "-m", "venv", "--clear", str(folder), cwd=ROOT)
                # Alone: it asks for an OpenCV with windows.
                run(*_pip(folder), "--no-deps", self.requirement, cwd=ROOT)
                run(*_pip(folder), *_PINS, cwd=ROOT)
                made.write_text(wanted)
        return folder / "bin" / "python"


BIGDL: Final = Published("bigdl-serving==2.4.0", "bigdl.serving.client", refuses_when_full=True)
ZOO: Final = Published("analytics-zoo-serving==0.11.2", "zoo.serving.client", refuses_when_full=False)


class Client:
    """One process with objects of a client, which it makes and calls as told."""

    def __init__(
        self, published: Published, module: str = "", *, python: Path | None = None, path: Path | None = None
    ) -> None:
        """In its own environment, or with another interpreter, whose modules are at ``path`` too."""
        self._popen = subprocess.Popen(
            [str(python or published.python), str(_DRIVER), module or published.module],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            env=environ_of_a_user() | ({"PYTHONPATH": str(path)} if path else {}),
        )

    def new(self, name: str, kind: str, /, **arguments: Any) -> None:
        """Make an object."""
        self._tell({"new": name, "class": kind, "with": arguments})
        said = self.end()
        if "raised" in said:
            self.close()
            raise AssertionError(said)

    def call(self, name: str, method: str, /, *args: Any, **arguments: Any) -> Any:
        """Return what a method returns; fail where it raises."""
        said = self.attempt(name, method, *args, **arguments)
        assert "raised" not in said, said
        return said["returned"]

    def keep(self, kept: str, name: str, method: str, /, *args: Any, **arguments: Any) -> None:
        """Call a method and keep what it returns there, as an object of this name; fail where it raises."""
        self._tell({"call": name, "method": method, "args": args, "with": arguments, "keep": kept})
        said = self.end()
        assert "raised" not in said, said

    def attempt(self, name: str, method: str, /, *args: Any, **arguments: Any) -> dict[str, Any]:
        """Return what a method returned, or raised."""
        self.begin(name, method, *args, **arguments)
        return self.end()

    def begin(self, name: str, method: str, /, *args: Any, **arguments: Any) -> None:
        """Have a method called, and do not wait for it: ``end`` does."""
        self._tell({"call": name, "method": method, "args": args, "with": arguments})

    def end(self) -> dict[str, Any]:
        """Return what the method that was begun returned, or raised."""
        assert self._popen.stdout is not None
        line = self._popen.stdout.readline()
        assert line, "the client has ended"
        answer: dict[str, Any] = json.loads(line)
        return answer

    def close(self) -> None:
        """End the process."""
        self._popen.kill()
        self._popen.communicate()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _tell(self, command: dict[str, Any]) -> None:
        assert self._popen.stdin is not None
        self._popen.stdin.write(json.dumps(command) + "\n")
        self._popen.stdin.flush()


def queues(published: Published, port: int, name: str = "", **where: Any) -> Client:
    """A client with queues ``in`` and ``out`` on the Redis at a port of this machine."""
    client = Client(published, **where)
    place = {"host": "127.0.0.1", "port": str(port)} | ({"name": name} if name else {})
    client.new("in", "InputQueue", **place)
    client.new("out", "OutputQueue", **place)
    return client


def array(nested: Any, dtype: str = "float32") -> dict[str, Any]:
    """An array as an argument."""
    return {"array": nested, "dtype": dtype}


def kept(name: str) -> dict[str, str]:
    """What was kept, as an argument."""
    return {"object": name}


def _pip(folder: Path) -> tuple[str, ...]:
    return (str(folder / "bin" / "pip"), "install", "--quiet", "--disable-pip-version-check")
