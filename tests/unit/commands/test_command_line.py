"""What commands print and how they end, where no broker is needed."""

from __future__ import annotations

import json
import re
import sys
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Self

import numpy as np
import pytest
from click.testing import CliRunner, Result

from pipeline.commands import main
from pipeline.control.fleet import Fleet
from pipeline.errors import ConnectorError, TimedOut
from pipeline.records import Error, PredictResult, ServableState, State, StreamState, WorkerState
from pipeline.tensors import from_array

NOWHERE = ("--bootstrap", "127.0.0.1:1")
SETTINGS = "servables: {digits: {base_path: models}}\nroutes: {digits: {}}\n"


@pytest.fixture
def here(tmp_path: Path, monkeypatch: Any, no_variables: None) -> Path:
    """A working directory with settings, and no variable of ours."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "penstock.yaml").write_text(SETTINGS)
    return tmp_path


@pytest.fixture
def no_broker(monkeypatch: Any) -> None:
    """Fails at once, where a real one that is away takes its time."""

    def describe(kafka: dict[str, Any], *_: object) -> None:
        raise ConnectorError(f"Kafka at {kafka['bootstrap.servers']}", "away")

    monkeypatch.setattr("pipeline.control.topic_admin.describe", describe)


def run(*arguments: str, stdin: str | None = None) -> Result:
    return CliRunner().invoke(main, list(arguments), stdin)


def one_line(result: Result) -> str:
    assert result.exit_code == 1, result.output
    assert result.stdout == ""
    (line,) = result.stderr.strip().splitlines()
    return line


@pytest.mark.parametrize("command", [("watch",), ("versions",), ("topics",), ("worker",), ("predict", "digits", "[1]")])
def test_wrong_settings_are_one_line_that_names_the_place(here: Path, command: tuple[str, ...]) -> None:
    (here / "penstock.yaml").write_text("routes: {digits: {max_batch: 1}}\n")
    assert "max_batch" in one_line(run(*command))


def test_a_settings_file_that_is_missing_is_one_line(here: Path) -> None:
    assert "none.yaml" in one_line(run("versions", "-c", "none.yaml"))


def test_a_broker_that_is_away_is_one_line_with_its_address(here: Path, no_broker: None) -> None:
    assert "127.0.0.1:1" in one_line(run("topics", *NOWHERE))


def test_watching_nothing_is_refused(here: Path) -> None:
    (here / "penstock.yaml").write_text("")
    assert "none to watch" in one_line(run("watch"))


def test_watching_once_what_is_not_there_is_an_error(here: Path) -> None:
    assert f"{here / 'models'} is not a directory" in one_line(run("watch", "--once"))


class AnyPlugin:
    """Is content with whatever the settings say."""

    @classmethod
    def from_settings(cls, *_: Any) -> None:
        pass

    def loader(self, *_: Any) -> None:
        pass


def test_check_names_every_problem_and_its_next_step(here: Path, no_broker: None, monkeypatch: Any) -> None:
    monkeypatch.setattr("pipeline.plugins.names", lambda *_: [])
    monkeypatch.setattr("pipeline.plugins.find", lambda *_: AnyPlugin)
    result = run("check", "--json", *NOWHERE)
    assert result.exit_code == 1
    found = {item["what"]: item for item in json.loads(result.stdout)}
    assert found["settings"]["status"] == "ok"
    assert (found["servables.digits"]["status"], found["broker"]["status"]) == ("problem", "problem")
    assert found["servables.digits"]["next_step"] == f"mkdir -p {here / 'models'}"
    assert found["penstock.connectors"]["status"] == "ok"


def test_check_reports_a_plugin_that_is_not_installed(here: Path, no_broker: None) -> None:
    (here / "penstock.yaml").write_text(SETTINGS.replace("{digits: {}}", "{digits: {connector: pulsar}}"))
    result = run("check", *NOWHERE)
    assert result.exit_code == 1
    assert "pulsar: is not installed" in result.stdout


def test_check_reports_settings_that_are_wrong_instead_of_failing(here: Path) -> None:
    (here / "penstock.yaml").write_text("servables: 3\n")
    result = run("check", "--json")
    assert result.exit_code == 1
    assert [item["what"] for item in json.loads(result.stdout)] == ["settings"]


def test_check_finds_what_a_connector_or_a_kind_would_refuse(here: Path, no_broker: None, monkeypatch: Any) -> None:
    servable = "{base_path: models, kind: python, options: {class: a.b:C, clas: 1}}"
    routes = "r: {servable: m, connector: redis, guarantee: exactly_once}, k: {servable: m, connector_options: {a: 1}}"
    (here / "penstock.yaml").write_text(
        f"redis: {{url: 'redis://127.0.0.1:1'}}\nservables: {{m: {servable}}}\nroutes: {{{routes}}}\n"
    )
    monkeypatch.setenv("PENSTOCK_WORKER_WEB_PORT", "6067")
    result = run("check", "--json", *NOWHERE)
    assert result.exit_code == 1
    found = {item["what"]: (item["status"], item["detail"]) for item in json.loads(result.stdout)}
    assert found["routes.r"][0] == found["routes.k"][0] == found["servables.m"][0] == "problem"
    assert "exactly_once" in found["routes.r"][1]
    assert "clas" in found["servables.m"][1]
    assert found["PENSTOCK_WORKER_WEB_PORT"] == (
        "note",
        "it is ignored: the variable would be PENSTOCK_WORKER__WEB_PORT",
    )


def test_check_counts_versions_and_misses_them(here: Path, no_broker: None) -> None:
    (here / "models").mkdir()
    found = {item["what"]: item for item in json.loads(run("check", "--json", *NOWHERE).stdout)}
    assert found["servables.digits"]["status"] == "note"
    for name in ("1", "12", "tmp"):
        (here / "models" / name).mkdir()
    found = {item["what"]: item for item in json.loads(run("check", "--json", *NOWHERE).stdout)}
    assert found["servables.digits"]["status"] == "ok"
    assert "2 versions, the latest is 12" in found["servables.digits"]["detail"]


class Queues:
    """Stands for the client: keeps what was sent, answers with ``answer``."""

    def __init__(self) -> None:
        self.opened: dict[str, Any] = {}
        self.sent: Any = None
        self.options: dict[str, Any] = {}
        self.answer: PredictResult | Exception = PredictResult(
            "r-1", "digits", 3, (from_array("score", np.array([[0.5, np.nan]], np.float32)),), compute_us=1500
        )

    def __call__(self, route: str, **opened: Any) -> Queues:
        self.opened = {"route": route, **opened}
        return self

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None: ...

    def send(self, data: Any, **options: Any) -> str:
        self.sent, self.options = data, options
        return "r-1"

    def result(self, _id: str, **_timeout: float) -> PredictResult:
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer


@pytest.fixture
def queues(monkeypatch: Any, here: Path) -> Queues:
    queues = Queues()
    client = SimpleNamespace(InputQueue=queues, OutputQueue=queues)
    monkeypatch.setitem(sys.modules, "pipeline.client", client)
    return queues


def test_predict_prints_who_answered_and_the_outputs(queues: Queues) -> None:
    result = run("predict", "digits", '{"x": [[1, 2]]}', "--version", "3", *NOWHERE)
    assert result.exit_code == 0, result.output
    assert result.stdout.startswith("digits/3  (r-1, computed in 1.5 ms)\nscore  FP32 [1, 2]\n")
    assert queues.sent["x"].tolist() == [[1.0, 2.0]]
    assert queues.options["version"] == 3
    assert queues.opened["request_topic"] == "digits.requests"
    assert queues.opened["kafka"]["bootstrap.servers"] == "127.0.0.1:1"


def test_predict_prints_one_json_object(queues: Queues) -> None:
    body = json.loads(run("predict", "digits", "-", "--json", stdin="[[1, 2]]").stdout)
    assert (body["id"], body["servable"], body["version"]) == ("r-1", "digits", 3)
    assert body["outputs"] == {"score": [[0.5, None]]}
    assert body["datatypes"] == {"score": "FP32"}


def test_predict_prints_bytes_as_text_where_they_are_text(queues: Queues) -> None:
    queues.answer = PredictResult("r", "m", 1, (from_array("v", np.array([b"a", b"\xff"], object)),))
    assert json.loads(run("predict", "digits", "[1]", "--json").stdout)["outputs"] == {"v": ["a", {"b64": "/w=="}]}
    assert "BYTES [2]" in run("predict", "digits", "[1]").stdout


def test_an_error_result_is_one_line_with_its_code(queues: Queues) -> None:
    queues.answer = PredictResult("r-1", "digits", error=Error("wrong_datatype", "x is FP32", retriable=False))
    assert "wrong_datatype: x is FP32; numbers of JSON are FP32 unless --datatype" in one_line(
        run("predict", "digits", "[1]", "--json")
    )


def test_no_answer_is_one_line(queues: Queues) -> None:
    queues.answer = TimedOut("request r-1", 0.1)
    assert "nothing within 0.2 s" in one_line(run("predict", "digits", "[1]", "--timeout", "0.2"))


def test_a_route_that_is_not_in_the_settings_is_refused(queues: Queues) -> None:
    assert "'other' is not among the routes: digits" in one_line(run("predict", "other", "[1]"))


@pytest.mark.parametrize(
    "arguments",
    [
        ("predict", "digits", "{"),
        ("predict", "digits", "[1]", "--version", "1", "--label", "stable"),
        ("predict", "digits", "[1]", "--timeout", "0"),
        ("predict", "digits"),
        ("versions", "--watch", "--json"),
        ("topics", "--partitions", "0"),
        ("topics", "--partitions", "8"),
        ("topics", "--dry-run"),
        ("topics", "--alter", "--replication-factor", "3"),
        ("watch", "--await-versions", "1"),
        ("worker", "--log-level", "LOUD"),
    ],
)
def test_what_is_not_understood_ends_with_2(queues: Queues, arguments: tuple[str, ...]) -> None:
    result = run(*arguments)
    assert result.exit_code == 2, result.output
    assert result.stdout == ""
    assert result.stderr.startswith("Usage:")


STATES = [
    ServableState("w-1", "digits", 1, State.END, at_ms=1),
    ServableState("w-1", "digits", 2, State.AVAILABLE, load_ms=31, at_ms=1),
    ServableState("w-1", "digits", 3, State.END, Error("invalid_artefact", "[broken]", retriable=False), at_ms=1),
    ServableState("w-1", "other", 1, State.LOADING, at_ms=1),
]
FOLLOWED = StreamState("digits", 7, is_settled=True, available=(2,), labels={"stable": 2}, notes=("a note",))


def seen(ago_ms: int, interval_ms: int, stream: StreamState) -> tuple[WorkerState, ...]:
    return (WorkerState("w-1", 1, time.time_ns() // 1_000_000 - ago_ms, interval_ms, (stream,)),)


@pytest.fixture
def states(monkeypatch: Any, here: Path) -> None:
    monkeypatch.setattr(
        "pipeline.control.fleet.read_fleet", lambda *_: Fleet(tuple(STATES), seen(0, 600_000, FOLLOWED))
    )


def test_versions_shows_what_is_served_and_why_something_is_not(states: None) -> None:
    lines = run("versions", "digits").stdout.splitlines()
    assert [line.split()[:4] for line in lines[1:]] == [
        ["digits", "2", "stable", "w-1"],
        ["digits", "3", "w-1", "END"],
        ["w-1:", "a", "note"],
    ]
    assert "AVAILABLE" in lines[1]
    assert "invalid_artefact: [broken]" in lines[2]


def test_versions_prints_one_json_array(states: None) -> None:
    assert [item["version"] for item in json.loads(run("versions", "--json").stdout)] == [2, 3, 1]
    assert len(json.loads(run("versions", "--json", "--all").stdout)) == 4


def test_versions_shows_who_is_gone(states: None, monkeypatch: Any) -> None:
    gone = seen(42_500, 5_000, StreamState("digits", 7))
    monkeypatch.setattr("pipeline.control.fleet.read_fleet", lambda *_: Fleet(tuple(STATES), gone))
    assert re.search(r"AVAILABLE, worker gone \d+ s", run("versions", "digits").stdout)
    assert re.search(r"w-1 +gone \d+ s", run("versions", "workers").stdout)
    monkeypatch.setattr("pipeline.control.fleet.read_fleet", lambda *_: Fleet(tuple(STATES), ()))
    assert "AVAILABLE, worker gone" in run("versions", "digits").stdout


def test_versions_workers_shows_how_far_each_is(states: None) -> None:
    lines = run("versions", "workers", "digits").stdout.splitlines()
    assert lines[1].split()[-4:] == ["7", "yes", "2", "stable=2"]
    assert json.loads(run("versions", "workers", "--json").stdout)[0]["streams"][0]["generation"] == 7
    assert "no worker that serves none" in run("versions", "workers", "none").stderr


def test_versions_of_nobody_says_so_on_stderr(states: None) -> None:
    result = run("versions", "none")
    assert (result.exit_code, result.stdout) == (1, "")
    assert "no worker has reported a version of none" in result.stderr


def test_worker_hands_its_options_on_and_ends_with_the_workers_status(here: Path, monkeypatch: Any) -> None:
    calls: list[tuple[Any, dict[str, Any]]] = []

    def run_worker(file: Any, **options: Any) -> int:
        calls.append((file.current, options))
        return 3

    monkeypatch.setitem(sys.modules, "pipeline.app", SimpleNamespace(run_worker=run_worker))
    result = run("worker", "--id", "w-2", "--web-port", "6067", "--watch", "--without-web", "--log-level", "debug")
    assert result.exit_code == 3
    ((settings, options),) = calls
    assert (settings.worker.id, settings.worker.web_port) == ("w-2", 6067)
    assert options == {"log_level": "DEBUG", "with_web": False, "is_watching": True}
