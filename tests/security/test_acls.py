"""A Kafka with TLS, SCRAM and ACLs: what is documented is enough, and each ACL that is missing is named."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from pipeline import settings
from pipeline.client import InputQueue
from pipeline.control import permissions
from tests.acceptance.workers import wait_for
from tests.security import documented
from tests.security.deployments import Secured
from tests.security.secured import SecuredKafka

WORKER = "User:worker"


@pytest.fixture
def deployment(tmp_path: Path, secured: SecuredKafka) -> Iterator[Secured]:
    made = Secured(tmp_path, secured, {**secured.as_user("worker"), "session.timeout.ms": 6000})
    yield made
    made.close()
    secured.forbid_all(WORKER)
    secured.forbid_all("User:watcher")
    secured.forbid_all("User:client")


def test_a_worker_a_watcher_and_a_client_with_the_documented_acls_answer_from_end_to_end(
    deployment: Secured, secured: SecuredKafka
) -> None:
    acls = documented.acls("Worker", deployment.settings, "factor")
    assert len(acls) == 7
    secured.allow(WORKER, acls)
    secured.allow("User:watcher", documented.acls("Watcher", deployment.settings))
    secured.allow("User:client", documented.acls("Client", deployment.settings, "factor"))
    deployment.drop("factor", 1, {"factor": b"2"})
    as_watcher = {"PENSTOCK_KAFKA__SASL_USERNAME": "watcher", "PENSTOCK_KAFKA__SASL_MECHANISMS": "PLAIN"}
    deployment.run("watch", "--once", env={**os.environ, **as_watcher})
    worker = deployment.worker("w").wait_until_ready()
    route = deployment.settings.routes["factor"]
    with InputQueue(
        "factor",
        kafka=secured.as_user("client", "SCRAM-SHA-512"),
        request_topic=route.request_topic,
        result_topic=route.result_topic,
    ) as requests:
        assert requests.predict({"x": [[1.5]]}, timeout=20).tolist() == [[3.0]]
    assert "lacks the ACL" not in worker.log
    assert "lacks the ACL" not in deployment.run("check").stdout


@pytest.mark.parametrize("guarantee", ["at_least_once", "exactly_once"])
def test_what_check_looks_for_is_what_is_documented(tmp_path: Path, guarantee: str) -> None:
    path = tmp_path / "penstock.yaml"
    path.write_text(f"servables: {{m: {{base_path: m}}}}\nroutes: {{m: {{guarantee: {guarantee}}}}}\n")
    loaded = settings.load(path)
    wanted = [
        (acl.resource_type, f"{acl.name}{'*' * acl.is_prefix}", acl.operation) for acl in permissions.wanted(loaded)
    ]
    assert sorted(wanted) == sorted(documented.acls("Worker", loaded, "m"))
    assert len(wanted) == (8 if guarantee == "exactly_once" else 7)


@pytest.mark.parametrize("number", range(7))
def test_check_names_each_acl_of_a_worker_that_is_missing(
    deployment: Secured, secured: SecuredKafka, number: int
) -> None:
    acls = documented.acls("Worker", deployment.settings, "factor")
    secured.allow(WORKER, acls)
    missing = acls[number]
    secured.forbid(WORKER, [missing])
    found = permissions.look(deployment.settings.kafka, permissions.wanted(deployment.settings))
    [error] = found.lacked
    assert (error.resource_type, error.resource_name, error.operation) == missing
    assert f"{WORKER} lacks the ACL" in str(error)
    command = f"--add --allow-principal {WORKER} --operation {missing[2]} --{missing[0]} {missing[1]}"
    assert str(error).endswith(command)


def test_a_worker_that_may_not_write_answers_stops_and_its_log_says_which_acl_it_lacks(
    deployment: Secured, secured: SecuredKafka
) -> None:
    route = deployment.settings.routes["factor"]
    secured.allow(WORKER, documented.acls("Worker", deployment.settings, "factor"))
    secured.allow(WORKER, documented.acls("Watcher", deployment.settings))
    secured.forbid(WORKER, [("topic", route.result_topic, "Write")])
    secured.allow("User:client", documented.acls("Client", deployment.settings, "factor"))
    deployment.drop("factor", 1, {"factor": b"2"})
    worker = deployment.worker("w", "--watch").wait_until_ready()
    with InputQueue(
        "factor", kafka=secured.as_user("client"), request_topic=route.request_topic, result_topic=route.result_topic
    ) as requests:
        requests.enqueue(x=[[1.5]])
    assert worker.wait() == 1
    command = f"--add --allow-principal {WORKER} --operation Write --topic {route.result_topic}"
    assert f"the worker stops: AccessDenied: topic {route.result_topic}: {WORKER} lacks the ACL" in worker.log
    assert command in worker.log


def test_a_worker_that_may_not_tell_its_states_serves_on_and_says_so(
    deployment: Secured, secured: SecuredKafka
) -> None:
    states = deployment.settings.control.states_topic
    secured.allow(WORKER, documented.acls("Worker", deployment.settings, "factor"))
    secured.allow(WORKER, documented.acls("Watcher", deployment.settings))
    secured.forbid(WORKER, [("topic", states, "Write")])
    deployment.drop("factor", 1, {"factor": b"2"})
    worker = deployment.worker("w", "--watch").wait_until_ready()
    wait_for("the ACL in the log", lambda: f"lacks the ACL Write on topic {states}" in worker.log)
    assert worker.get("/ready")[0] == 200
