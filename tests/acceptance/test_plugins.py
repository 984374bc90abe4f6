"""The commands of the guides, in their order, in a clean environment: an example plugin is installed, and serves."""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.acceptance.installing import CONSTRAINTS, ROOT, copy_checkout, environ_of_a_user, install, run
from tests.acceptance.workers import wait_for
from tests.pages import blocks

# How a guide has its plugin asked: by the command that speaks Kafka, or by the client that comes with the plugin.
ASKING = ("penstock predict", "python -m sqlite_client")


def commands(guide: str) -> list[str]:
    lines = re.findall(r"^\$ (.*)$", (ROOT / f"docs/extend/{guide}.md").read_text(), re.MULTILINE)
    return [line.split("  #")[0].strip() for line in lines]


def settings(guide: str) -> str:
    """Return the settings with a route."""
    [text] = [text for text in blocks(f"docs/extend/{guide}.md", "yaml") if "routes:" in text]
    return text


@pytest.fixture(scope="module")
def binaries(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One environment for all guides; each installs its own plugin into it."""
    return install(tmp_path_factory.mktemp("installed"))


@pytest.fixture
def environ(binaries: Path, kafka: Any) -> dict[str, str]:
    path = f"{binaries}{os.pathsep}{os.environ['PATH']}"
    return environ_of_a_user(PATH=path, PENSTOCK_BOOTSTRAP=kafka.bootstrap, PIP_CONSTRAINT=str(CONSTRAINTS))


@pytest.fixture
def worker(tmp_path: Path, environ: dict[str, str]) -> Iterator[Any]:
    """Start the worker of a guide and wait until it takes requests; it is stopped at the end."""
    started: list[subprocess.Popen[bytes]] = []

    def start(command: str) -> None:
        with (tmp_path / "worker.log").open("wb") as log:
            words = [*command.split(), "--without-web"]
            started.append(subprocess.Popen(words, cwd=tmp_path, env=environ, stdout=log, stderr=log))
        wait_for("the worker", lambda: "all routes take requests" in (tmp_path / "worker.log").read_text())

    yield start
    for process in started:
        process.terminate()
        assert process.wait(40) == 0


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_token_provider_is_installed_tested_and_checked_as_its_guide_says(
    tmp_path: Path, environ: dict[str, str]
) -> None:
    """No broker of this test's is the guide's; that it lets the provider in is shown in tests/security."""
    copy_checkout(tmp_path, below="examples/custom_")
    (tmp_path / "penstock.yaml").write_text(settings("token_provider"))
    installing, testing, checking = commands("token_provider")
    run("bash", "-c", installing, cwd=tmp_path, environ=environ)
    assert re.search(r"\d+ passed", run("bash", "-c", testing, cwd=tmp_path, environ=environ))
    environ = {name: text for name, text in environ.items() if name != "PENSTOCK_BOOTSTRAP"}
    checked = subprocess.run(
        checking.split(), cwd=tmp_path, env=environ, capture_output=True, text=True, timeout=100, check=False
    )
    assert re.search(r"ok +penstock\.token_providers +file\b", checked.stdout), checked.stdout
    assert "token provider 'file' has no token: FileNotFoundError" in checked.stderr
    assert checked.returncode == 1


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize(
    ("guide", "plugin", "answer"),
    [
        ("servable", r"ok +penstock\.servables +hashmap\b", r"colours/1.*\bblue\b"),
        ("source", r"ok +penstock\.storage +live\b", r"fruits/3.*\bred\b"),
        ("connector", r"ok +penstock\.connectors +sqlite\b", r"^\[b'blue'\]$"),
        ("codec", r"ok +penstock\.codecs +.*\bmsgpack\b", r"colours/1.*\bblue\b"),
    ],
)
def test_a_plugin_is_installed_checked_and_answers_as_its_guide_says(
    guide: str, plugin: str, answer: str, tmp_path: Path, environ: dict[str, str], worker: Any
) -> None:
    copy_checkout(tmp_path, below="examples/custom_")
    (tmp_path / "penstock.yaml").write_text(settings(guide))
    printed: dict[str, str] = {}
    for command in commands(guide):
        if command.startswith("penstock worker"):
            worker(command)
        else:
            printed[command] = run("bash", "-c", command, cwd=tmp_path, environ=environ)
    [tested] = [text for command, text in printed.items() if "pytest examples" in command]
    assert re.search(r"\d+ passed", tested)
    assert "failed" not in tested
    [predicted] = [text for command, text in printed.items() if command.startswith(ASKING)]
    assert re.search(plugin, printed["penstock check"])
    assert re.search(answer, predicted, re.DOTALL)
