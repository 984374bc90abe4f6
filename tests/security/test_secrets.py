"""No secret in any output, log or page, with right and wrong credentials, when everything is logged."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from tests.acceptance.workers import Process, Worker, wait_for
from tests.security import documented
from tests.security.deployments import Secured
from tests.security.secured import PASSWORD, SecuredKafka

WORKER = "User:worker"
WRONG = "canary-the-wrong-password"
COMMANDS = (
    ("check", "--json"),
    ("topics",),
    ("versions",),
    ("dead-letters", "list", "factor"),
    ("versions", "promote", "factor", "1", "--timeout", "5"),
    ("predict", "factor", '{"x": [[1.5]]}', "--timeout", "20"),
)
# Each waits for the broker until it gives up.
REFUSED = (
    ("check",),
    ("versions",),
    ("dead-letters", "list", "factor"),
    ("predict", "factor", '{"x": [[1.5]]}', "--timeout", "3"),
)
Command = tuple[str, ...]
PAGES = ("/live", "/ready", "/versions", "/metrics", "/", "/stats/", "/router/", "/graph/", "/tables/", "/nowhere")


@pytest.fixture
def deployment(tmp_path: Path, secured: SecuredKafka) -> Iterator[Secured]:
    certificate, key = secured.authority.issue("talkative", password="canary-the-password-of-the-key")
    (tmp_path / "secret").write_text("canary-from-a-file\n")
    user = {
        **secured.as_user("worker", password="${env:THE_PASSWORD}"),
        "ssl.certificate.pem": certificate.read_text(),
        "ssl.key.pem": key.read_text(),
        "ssl.key.password": "canary-the-password-of-the-key",
        "sasl.oauthbearer.client.secret": "${file:secret}",
        "sasl.oauthbearer.config": "canary=of-a-token",
        "session.timeout.ms": 6000,
        "debug": "all",
        "log_level": 7,
    }
    os.environ["THE_PASSWORD"] = PASSWORD
    made = Secured(tmp_path, secured, user, worker={"drain_timeout_s": 2})  # states wait for the broker at the end
    made.secrets = ("canary", *key.read_text().split("\n")[1:3])
    letters = [("topic", made.settings.routes["factor"].dead_letter_topic, "Read")]
    for acls in (letters, documented.acls("Worker", made.settings, "factor"), documented.acls("Watcher", made.settings),
                 documented.acls("Client", made.settings, "factor")):  # fmt: skip
        secured.allow(WORKER, acls)
    yield made
    made.close()
    secured.forbid_all(WORKER)
    del os.environ["THE_PASSWORD"]


def outputs(deployment: Secured, commands: Sequence[Command], environ: dict[str, str]) -> dict[str, str]:
    """What every command prints, stdout and stderr, by its name."""

    def run(arguments: Command) -> str:
        done = deployment.attempt(*arguments, env=environ)
        return f"{done.returncode}\n{done.stdout}\n{done.stderr}"

    with ThreadPoolExecutor(3) as threads:
        return {" ".join(arguments): text for arguments, text in zip(commands, threads.map(run, commands), strict=True)}


def assert_none_is_told(deployment: Any, texts: dict[str, str]) -> None:
    for place, text in texts.items():
        for secret in deployment.secrets:
            line = next((line for line in text.splitlines() if secret in line), "")
            assert not line, f"{place}: {line}"


def test_with_right_credentials(deployment: Secured) -> None:
    deployment.drop("factor", 1, {"factor": b"2"})
    watcher = deployment.watcher()
    worker = deployment.worker("w", "--log-level", "DEBUG").wait_until_ready()
    texts = outputs(deployment, COMMANDS, dict(os.environ))
    texts |= {page: worker.get(page)[1] for page in PAGES}
    worker.signal(signal.SIGTERM)
    assert worker.wait() == 0
    watcher.signal(signal.SIGTERM)
    watcher.wait()
    texts |= {"worker": worker.log, "watcher": watcher.log}
    assert "rdkafka" in texts["worker"] or "thrd:" in texts["worker"], "librdkafka's own lines are in the log"
    assert texts[" ".join(COMMANDS[-1])].startswith("0\n")
    assert_none_is_told(deployment, texts)


def test_with_wrong_credentials(deployment: Secured) -> None:
    environ = {**os.environ, "PENSTOCK_KAFKA__SASL_PASSWORD": WRONG}
    os.environ["PENSTOCK_KAFKA__SASL_PASSWORD"] = WRONG
    try:
        watcher: Process = deployment.watcher()
        worker: Worker = deployment.worker("w", "--log-level", "DEBUG")
    finally:
        del os.environ["PENSTOCK_KAFKA__SASL_PASSWORD"]
    texts = outputs(deployment, REFUSED, environ)
    wait_for("the refusal", lambda: "does not take the user 'worker'" in worker.log)
    texts |= {page: worker.get(page)[1] for page in PAGES}
    assert worker.get("/ready")[0] == 503
    worker.signal(signal.SIGTERM)
    worker.wait()
    watcher.signal(signal.SIGTERM)
    watcher.wait()
    texts |= {"worker": worker.log, "watcher": watcher.log}
    assert "does not take the user 'worker' with this password" in texts["check"]
    assert_none_is_told(deployment, texts)
