"""What `penstock front-end` refuses before it listens, and how it reads the settings of a job."""

from __future__ import annotations

import socket
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from pipeline.commands import main
from pipeline.front_end import server
from pipeline.front_end.pages import Limits

JOB = "{connector: redis, format: cluster-serving, servable: m}"
HEAD = "redis: {url: 'redis://127.0.0.1:1'}\nservables: {m: {base_path: nowhere}}\nroutes:\n"


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, no_variables: None) -> Any:
    monkeypatch.chdir(tmp_path)

    def run(settings: str, *arguments: str) -> Result:
        if settings:
            (tmp_path / "penstock.yaml").write_text(settings)
        return CliRunner().invoke(main, ["front-end", *arguments])

    return run


@pytest.mark.parametrize(
    ("routes", "route", "why"),
    [
        ("  a: {servable: m}", "", "expected one route with format: cluster-serving; there is none"),
        (f"  a: {JOB}\n  b: {JOB}", "", "a, b have it: name one"),
        (f"  a: {JOB}", "c", "'c' is not among the routes: a"),
        (f"  a: {JOB}\n  b: {{servable: m}}", "b", "routes.b: its requests have another format"),
        (f"  a: {JOB[:-1]}, connector: memory}}".replace("connector: redis, ", ""), "", "one topic of Kafka"),
    ],
    ids=["no job", "two jobs", "unknown", "another format", "another broker"],
)
def test_a_route_that_it_can_not_ask_is_refused(run: Any, routes: str, route: str, why: str) -> None:
    result = run(HEAD + routes, *([route] if route else []))
    assert result.exit_code == 1
    assert why in result.stderr


def test_a_port_that_is_taken_is_an_error(run: Any) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        result = run(f"{HEAD}  a: {JOB}", "--port", str(port))
    assert result.exit_code == 1
    assert f"can not listen on 127.0.0.1:{port}" in result.stderr


def served(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Return where the arguments of the server come instead of a server."""
    found: list[Any] = []
    monkeypatch.setattr(server, "run", lambda *arguments: found.append(arguments))
    return found


def test_the_limits_are_those_of_the_route_and_of_the_command_line(run: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    found = served(monkeypatch)
    job = f"{JOB[:-1]}, max_record_bytes: 1000, max_in_flight_bytes: 5000}}"
    result = run(f"{HEAD}  a: {job}\n  b: {JOB}", "a", "--timeout", "2", "--max-in-flight", "7", "--host", "0.0.0.0")
    assert result.exit_code == 0, result.stderr
    [(queue, limits, host, port, _)] = found
    assert limits == Limits(1000, 2.0, 7, 5000)
    assert (queue.job, queue.place, host, port) == ("a", "Redis at 127.0.0.1:1", "0.0.0.0", 10020)


def test_a_config_of_theirs_is_enough_and_its_model_may_be_elsewhere(
    run: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = served(monkeypatch)
    (tmp_path / "config.yaml").write_text("modelPath: /not/here\njobName: old\nqueueUsed: kafka\nkafkaUrl: k:9092\n")
    result = run("", "--cluster-serving", "config.yaml")
    assert result.exit_code == 0, result.stderr
    [(queue, limits, *_)] = found
    assert (queue.job, queue.place) == ("old", "kafka at k:9092")
    assert limits.body_bytes == 16 * 1024 * 1024
