"""Which settings are secrets, and that they are shown nowhere."""

from __future__ import annotations

import logging
import traceback
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka import KafkaError
from rich.pretty import pretty_repr

from pipeline import settings
from pipeline.client.address import Address
from pipeline.errors import InvalidSettings
from pipeline.kafka_log import ClientLog
from pipeline.kafka_refusals import text_of
from pipeline.redaction import is_secret, redacted, without_secrets

SECRETS = [
    "sasl.password", "ssl.key.password", "ssl.keystore.password", "ssl.key.pem", "sasl.oauthbearer.client.secret",
    "sasl.oauthbearer.config", "sasl.oauthbearer.assertion.private.key.pem", "basic.auth.user.info",
    "bearer.auth.token",
    "sasl.oauthbearer.assertion.private.key.passphrase", "api_key", "AWS_SECRET_ACCESS_KEY", "secret-key",
]  # fmt: skip
OPEN = [
    "sasl.username", "sasl.mechanisms", "ssl.ca.location", "ssl.key.location", "ssl.certificate.pem", "group.id",
    "sasl.oauthbearer.token.endpoint.url", "sasl.oauthbearer.token.provider", "max_tokens", "secrets_dir",
]  # fmt: skip


@pytest.mark.parametrize("name", SECRETS)
def test_a_name_of_a_secret_is_known(name: str) -> None:
    assert is_secret(name)
    assert redacted({"a": [{name: "canary"}]}) == {"a": [{name: "***"}]}


@pytest.mark.parametrize("name", OPEN)
def test_what_is_no_secret_is_shown(name: str) -> None:
    assert not is_secret(name)
    assert redacted({name: "x"}) == {name: "x"}


def test_a_login_in_a_url_is_hidden_and_an_empty_secret_is_shown_to_be_empty() -> None:
    assert redacted({"url": "https://user:canary@host/path"}) == {"url": "https://***@host/path"}
    assert redacted({"sasl.password": ""}) == {"sasl.password": ""}


def test_a_text_of_somebody_elses_loses_the_secrets_that_it_repeats() -> None:
    kafka = {"sasl.password": "canary", "ssl.key.pem": "canary-and-more", "sasl.username": "worker", "api_key": "a"}
    assert without_secrets("canary-and-more, canary of worker: a", kafka) == "***, *** of worker: a"


def test_settings_and_addresses_print_without_secrets(tmp_path: Path) -> None:
    path = tmp_path / "penstock.yaml"
    path.write_text("kafka: {sasl.password: canary}\n")
    loaded = settings.load(path)
    assert loaded.kafka == {"sasl.password": "canary"}
    address = Address.of("r", "c", loaded.kafka)
    for text in (repr(loaded), str(loaded), f"{loaded}", pretty_repr(loaded), repr(address), pretty_repr(address)):
        assert "canary" not in text
        assert "***" in text


def test_a_line_of_librdkafkas_log_and_an_error_of_it_come_without_secrets(caplog: Any) -> None:
    kafka = {"sasl.oauthbearer.config": "canary principal=worker"}
    text = (
        "Failed to acquire SASL OAUTHBEARER token: Unrecognized sasl.oauthbearer.config beginning at: canary principal="
    )
    with caplog.at_level(logging.DEBUG):
        ClientLog(logging.getLogger("x"), kafka).log(logging.ERROR, "%s [%s] %s", "FAIL", "x", f"{text}worker")
    assert caplog.records[0].message.startswith("FAIL [x] Failed to acquire")
    assert "canary" not in caplog.text
    assert "canary" not in text_of(KafkaError(KafkaError._AUTHENTICATION, f"{text}worker"), kafka)


BROKEN = [
    'kafka: {sasl.password: "canary',
    "kafka:\n  sasl.password: *canary\n",
    "kafka:\n  sasl.password: !canary x\n",
    "kafka:\n  sasl.password: [canary\n",
    "kafka:\n  sasl.password: {canary: [}\n",
    "kafka:\n  sasl.password: @canary\n",
    "kafka: {sasl.password: [canary]}",
    "kafka: canary",
    "kafka: [canary]",
]


@pytest.mark.parametrize("text", BROKEN)
def test_an_error_about_the_settings_file_quotes_no_line_of_it(tmp_path: Path, text: str) -> None:
    path = tmp_path / "penstock.yaml"
    path.write_text(text)
    with pytest.raises(InvalidSettings, match=r"penstock\.yaml") as caught:
        settings.load(path)
    assert "canary" not in "".join(traceback.format_exception(caught.value))
