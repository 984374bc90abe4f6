"""The README's commands, in its order, on a model like the one it names."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.acceptance.workers import wait_for
from tests.pages import blocks

README = (Path(__file__).parents[2] / "README.md").read_text()
# What the test does in its own way: it is installed, has a Kafka, and other targets of make are tests of their own.
ELSEWHERE = ("git clone", "make ", "pip install", "penstock kafka")


PROGRAMS = blocks("README.md", "python")  # makes the model; asks it


def commands() -> list[str]:
    """Return the commands of the section that serves a model of the reader's, without their comments."""
    section = README.split("## Serve a model of yours")[1].split("## How it works")[0]
    lines = re.findall(r"^\$ (.*)$", section, re.MULTILINE)
    return [line.split("  #")[0].strip() for line in lines]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The model and the settings of the README."""
    done = subprocess.run(
        [sys.executable, "-c", PROGRAMS[0]], cwd=tmp_path, capture_output=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
    [settings] = blocks("README.md", "yaml")
    (tmp_path / "penstock.yaml").write_text(settings)
    return tmp_path


@pytest.fixture
def environ(kafka: Any) -> dict[str, str]:
    names = {"PENSTOCK_BOOTSTRAP": kafka.bootstrap}
    return {**os.environ, **names, "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}


@pytest.fixture
def background() -> Iterator[list[subprocess.Popen[bytes]]]:
    started: list[subprocess.Popen[bytes]] = []
    yield started
    for process in started:
        process.terminate()
        assert process.wait(40) == 0


def test_the_commands_of_the_readme_do_what_it_says(
    folder: Path, environ: dict[str, str], background: list[subprocess.Popen[bytes]]
) -> None:
    printed: dict[str, str] = {}
    for command in commands():
        if command.startswith(ELSEWHERE):
            continue
        arguments = shlex.split(command)
        if arguments[1] == "worker":
            with (folder / "worker.log").open("wb") as log:
                worker = subprocess.Popen(
                    [*arguments, "--without-web"], cwd=folder, env=environ, stdout=log, stderr=log
                )
            background.append(worker)
            wait_for("the worker", lambda: "all routes take requests" in (folder / "worker.log").read_text())
            continue
        done = subprocess.run(
            arguments, cwd=folder, env=environ, capture_output=True, text=True, timeout=60, check=False
        )
        assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
        printed[" ".join(arguments[:3])] = done.stdout
    answer = printed["penstock predict half-plus-two"]
    assert "half-plus-two/1" in answer
    assert re.search(r"2\.5.*3.*4\.5", answer, re.DOTALL)
    assert "AVAILABLE" in printed["penstock versions"]
    assert {"penstock versions promote", "penstock versions rollback", "penstock versions unpin"} <= printed.keys()


def test_the_python_of_the_readme_runs(
    folder: Path, environ: dict[str, str], background: list[subprocess.Popen[bytes]]
) -> None:
    subprocess.run(
        ["penstock", "topics", "--create"], cwd=folder, env=environ, check=True, timeout=60, capture_output=True
    )
    with (folder / "worker.log").open("wb") as log:
        command = ["penstock", "worker", "--watch", "--without-web"]
        background.append(subprocess.Popen(command, cwd=folder, env=environ, stdout=log, stderr=log))
    wait_for("the worker", lambda: "all routes take requests" in (folder / "worker.log").read_text())
    program = PROGRAMS[1].replace("localhost:9092", environ["PENSTOCK_BOOTSTRAP"])
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=folder, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
    assert re.search(r"2\.5.*3.*4\.5", done.stdout, re.DOTALL)
