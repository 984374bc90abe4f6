"""Every way to be let in works for every client; every way not to be is one error that says what to do."""

from __future__ import annotations

import base64
import json
import logging
import time
import uuid
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from importlib.metadata import EntryPoint, EntryPoints
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka.admin import ScramMechanism

from pipeline import plugins
from pipeline.client import InputQueue
from pipeline.control import topic_admin
from pipeline.control.kafka_log_reader import KafkaLogReader
from pipeline.control.kafka_log_writer import KafkaLogWriter
from pipeline.control.kafka_logs import KafkaLogs
from pipeline.control.logs import read_all
from pipeline.control.topics import TopicSpec
from pipeline.errors import AccessDenied, AuthenticationFailed, ConnectorError, TlsFailed
from tests.security.secured import CERTIFICATE_USER, PASSWORD, SecuredKafka
from tests.waiting import wait_for

Change = Callable[[SecuredKafka], dict[str, Any]]


def unsecured_token() -> str:
    """A token as an identity provider would sign it, unsigned: Kafka's own validator for development takes it."""
    now_s = int(time.time())
    claims = {"sub": "worker", "iat": now_s, "exp": now_s + 600}
    parts = [base64.urlsafe_b64encode(json.dumps(part).encode()).rstrip(b"=") for part in ({"alg": "none"}, claims)]
    return f"{b'.'.join(parts).decode()}."


WAYS: dict[str, tuple[str, Change]] = {
    "PLAIN": ("User:worker", lambda k: k.as_user("worker", "PLAIN")),
    "SCRAM-SHA-256": ("User:worker", lambda k: k.as_user("worker", "SCRAM-SHA-256")),
    "SCRAM-SHA-512": ("User:worker", lambda k: k.as_user("worker", "SCRAM-SHA-512")),
    "mTLS": (CERTIFICATE_USER, lambda k: k.by_certificate()),
    "OAUTHBEARER": (
        "User:worker",
        lambda k: {**k.by_token(), "enable.sasl.oauthbearer.unsecure.jwt": True,
                   "sasl.oauthbearer.config": "principal=worker"},
    ),
    "OAUTHBEARER by plugin": ("User:worker", lambda k: {**k.by_token(), "sasl.oauthbearer.token.provider": "file",
                                                        "sasl.oauthbearer.config": "token"}),
}  # fmt: skip


@pytest.fixture(autouse=True)
def _a_token_provider(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The example of the guide, as if it were installed, and its file."""
    monkeypatch.chdir(tmp_path)
    Path("token").write_text(unsecured_token())
    file = EntryPoint("file", "file_token:read_token", plugins.TOKENS)
    found = EntryPoints((*plugins.installed(), file))
    monkeypatch.setattr(plugins, "installed", lambda: found)


@pytest.mark.parametrize("way", WAYS)
def test_every_client_is_let_in(secured: SecuredKafka, way: str) -> None:
    principal, properties = WAYS[way]
    kafka, topic = properties(secured), f"way-{uuid.uuid4().hex[:8]}"
    topic_admin.create_missing(secured.admin, [TopicSpec(topic, 1, {"cleanup.policy": "compact"}, "x")])
    acls = [("topic", topic, "Read"), ("topic", topic, "Write")]
    secured.allow(principal, acls)
    writer = KafkaLogWriter(kafka, topic, "w")
    writer.write(b"k", b"v", 20)
    writer.close(1)
    assert read_all(KafkaLogs(kafka), topic, timeout_s=20) == {b"k": b"v"}
    assert topic in topic_admin.describe(kafka, [topic])
    with InputQueue("x", kafka=kafka, request_topic=topic, result_topic=topic) as requests:
        requests.enqueue(x=1.0)
        requests.flush(20)
    secured.forbid(principal, acls)


def without(properties: dict[str, Any], *names: str) -> dict[str, Any]:
    return {name: value for name, value in properties.items() if name not in names}


REFUSED: dict[str, tuple[type[ConnectorError], str, Change]] = {
    "a wrong password": (
        AuthenticationFailed, "does not take the user 'worker' with this password",
        lambda k: k.as_user("worker", password="not the right one"),
    ),
    "a wrong password in PLAIN": (
        AuthenticationFailed, "does not take the user 'worker' with this password",
        lambda k: k.as_user("worker", "PLAIN", password="not the right one"),
    ),
    "an unknown user": (AuthenticationFailed, "does not take the user 'nobody'", lambda k: k.as_user("nobody")),
    "a token that can not be made": (
        AuthenticationFailed, "no token could be had",
        lambda k: {**k.by_token(), "enable.sasl.oauthbearer.unsecure.jwt": True,
                   "sasl.oauthbearer.config": f"{PASSWORD}=x"},
    ),
    "an unknown authority": (
        TlsFailed, "who signed the broker's certificate is not in ssl.ca.location",
        lambda k: {**k.as_user("worker"), "ssl.ca.location": str(k.stranger.ca)},
    ),
    "another host name": (
        TlsFailed, "does not name the host 127.0.0.1",
        lambda k: {**k.by_certificate(), "bootstrap.servers": k.local.address("OTHERHOST")},
    ),
    "no client certificate": (
        TlsFailed, "wants a certificate of this client",
        lambda k: without(k.by_certificate(), "ssl.certificate.location", "ssl.key.location"),
    ),
    "plaintext to a TLS port": (
        TlsFailed, "this listener speaks TLS", lambda k: {"bootstrap.servers": k.local.address("SASL")},
    ),
    "TLS to a plaintext port": (
        TlsFailed, "does not speak TLS",
        lambda k: {**k.by_certificate(), "bootstrap.servers": k.local.bootstrap},
    ),
}  # fmt: skip


@pytest.fixture(scope="module")
def refused(secured: SecuredKafka) -> dict[str, BaseException | None]:
    """What an admin client is told in each case; all at once, because each waits out its time."""

    def ask(properties: Change) -> BaseException | None:
        try:
            topic_admin.describe(properties(secured), ["x"], timeout_s=4.0)
        except ConnectorError as error:
            return error
        return None

    with ThreadPoolExecutor(len(REFUSED)) as threads:
        return dict(zip(REFUSED, threads.map(lambda case: ask(case[2]), REFUSED.values()), strict=True))


@pytest.mark.parametrize("case", REFUSED)
def test_who_is_not_let_in_is_told_why(refused: dict[str, BaseException | None], case: str) -> None:
    kind, words, _ = REFUSED[case]
    error = refused[case]
    assert type(error) is kind, repr(error)
    assert words in str(error)
    assert str(error).startswith("Kafka at 127.0.0.1:")
    assert PASSWORD not in str(error)


@pytest.mark.parametrize("case", ["a wrong password", "another host name"])
def test_a_reader_says_once_why_it_waits_and_a_client_raises_it(secured: SecuredKafka, case: str, caplog: Any) -> None:
    kind, words, properties = REFUSED[case]
    kafka = properties(secured)
    with pytest.raises(kind, match=words):
        InputQueue("x", kafka=kafka, connect_timeout_s=2.0).open()
    reader = KafkaLogReader(kafka, "x", "r", on_record=lambda *_: None, on_fatal=lambda _: None)
    with caplog.at_level(logging.WARNING):
        wait_for("the reader says why it waits", lambda: reader.step() or words in str(reader.availability.problem))
        reader.step()
    reader.close()
    said = [record for record in caplog.records if record.name == "pipeline.control.availability"]
    assert sum(words in record.message for record in said) == 1, caplog.text


def test_a_reader_whose_password_comes_right_is_let_in_without_a_restart(secured: SecuredKafka) -> None:
    topic = f"late-{uuid.uuid4().hex[:8]}"
    topic_admin.create_missing(secured.admin, [TopicSpec(topic, 1, {"cleanup.policy": "compact"}, "x")])
    secured.allow("User:late", [("topic", topic, "Read")])
    kafka = secured.as_user("late", password="a new one")
    reader = KafkaLogReader(kafka, topic, "r", on_record=lambda *_: None, on_fatal=lambda _: None)
    wait_for(
        "the password is refused",
        lambda: reader.step() or "does not take the user" in str(reader.availability.problem),
    )
    secured.set_passwords(["late"], "a new one", ScramMechanism.SCRAM_SHA_256)
    wait_for("the reader is let in", lambda: reader.step() or reader.caught_up.is_set())
    assert reader.availability.problem is None
    reader.close()


def test_a_client_that_lacks_an_acl_is_told_which(secured: SecuredKafka) -> None:
    topic = f"client-{uuid.uuid4().hex[:8]}"
    topic_admin.create_missing(secured.admin, [TopicSpec(topic, 1, {"cleanup.policy": "delete"}, "x")])
    kafka = secured.as_user("client")
    queue = InputQueue("x", kafka=kafka, request_topic=topic, result_topic=topic)
    with pytest.raises(AccessDenied, match=f"User:client lacks the ACL Read on topic {topic}"):
        queue.open()
    secured.allow("User:client", [("topic", topic, "Read")])
    with pytest.raises(AccessDenied, match=f"User:client lacks the ACL Write on topic {topic}"):
        queue.predict({"x": 1.0}, timeout=15)
    queue.close()
    secured.forbid_all("User:client")
