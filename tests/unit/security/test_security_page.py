"""docs/security.md: its settings are settings, its commands are those of its tables, its codes are the errors'."""

from __future__ import annotations

import logging
import re
from importlib.metadata import EntryPoint, EntryPoints
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka import Consumer, KafkaError, KafkaException, Producer

from pipeline import kafka_properties, kafka_refusals, plugins, settings
from pipeline.control import permissions
from pipeline.errors import AccessDenied, AuthenticationFailed, PluginError, TlsFailed
from pipeline.kafka_access import Acl, denied, principal_of
from tests.pages import blocks

PAGE = (Path(__file__).parents[3] / "docs" / "security.md").read_text()
YAML = blocks("docs/security.md", "yaml")
DIGITS = "servables: {digits: {base_path: m}}\nroutes: {digits: {guarantee: exactly_once}}\n"


def loaded(folder: Path, block: str) -> settings.Settings:
    block = block.replace("/run/secrets/kafka-password", "password").replace("/etc/penstock/", f"{folder}/")
    (folder / "password").write_text("secret\n")
    (folder / "penstock.yaml").write_text(block)
    return settings.load(folder / "penstock.yaml", {"KEY_PASSWORD": "k", "CLIENT_SECRET": "c"})


@pytest.mark.parametrize("block", YAML)
def test_an_example_is_settings_whose_properties_librdkafka_knows(tmp_path: Path, block: str) -> None:
    kafka = loaded(tmp_path, block).kafka
    assert not any("${" in str(value) for value in kafka.values())
    if "sasl.oauthbearer.token.provider" in kafka:
        with pytest.raises(PluginError, match=r"penstock\.token_providers"):
            kafka_properties.producer(kafka, "x")
        return
    try:
        Producer({**kafka_properties.producer(kafka, "x"), "log_level": 0})
    except KafkaException as error:
        said = str(error)
    else:
        said = "ca.location"
    assert re.search(r"(ca|certificate|key)\.location", said), said  # the example's files are not here


def test_the_commands_of_the_page_are_the_acls_that_a_worker_wants(tmp_path: Path) -> None:
    (tmp_path / "penstock.yaml").write_text(DIGITS)
    wanted = permissions.wanted(settings.load(tmp_path / "penstock.yaml"))
    given = re.findall(r"^\$ \$add --allow-principal User:worker (.*?)(?:  #.*)?$", PAGE, re.MULTILINE)
    commands = [acl.command("User:worker", "x").partition("User:worker ")[2] for acl in wanted]
    assert sorted(given) == sorted(commands)


def test_the_wheel_has_what_the_page_says() -> None:
    with pytest.raises(KafkaException, match="No provider for SASL mechanism GSSAPI") as caught:
        Producer({"security.protocol": "SASL_PLAINTEXT", "sasl.mechanisms": "GSSAPI"})
    assert "Current build options: PLAIN SASL_SCRAM OAUTHBEARER" in str(caught.value)


@pytest.mark.parametrize("kind", [AccessDenied, AuthenticationFailed, TlsFailed])
def test_each_code_is_on_the_page(kind: type[AccessDenied]) -> None:
    assert f"| `{kind.code}` |" in PAGE


def test_a_token_provider_is_called_by_its_name_and_is_no_property_of_librdkafka() -> None:
    def provide(_config: str) -> tuple[str, float]:
        return "token", 0.0

    mine = type("Mine", (), {"name": "mine", "value": "x:y", "load": staticmethod(lambda: provide)})
    # As much of an entry point as is asked.
    found = plugins.find(plugins.TOKENS, "mine", [mine])  # type: ignore[list-item]  # see above
    assert found is provide


def test_a_token_provider_that_raises_is_logged_with_its_reason_and_asked_again(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The client of Kafka says no more than that there was no token."""
    mine = EntryPoints([EntryPoint("file", "file_token:read_token", plugins.TOKENS)])
    monkeypatch.setattr(plugins, "installed", lambda: mine)
    kafka: dict[str, kafka_properties.Scalar] = {
        kafka_properties.PROVIDER: "file", "sasl.oauthbearer.config": "/no/such/token",
    }  # fmt: skip
    properties = kafka_properties.admin(kafka, "x")
    assert kafka_properties.PROVIDER not in properties
    provide: Any = properties["oauth_cb"]
    for _ in range(2):
        with caplog.at_level(logging.ERROR), pytest.raises(FileNotFoundError):
            provide("/no/such/token")
    assert caplog.text.count("token provider 'file' has no token: FileNotFoundError") == 2
    assert "No such file" in caplog.text
    assert "/no/such/token" not in caplog.text, "it counts as a secret"


def test_a_client_without_a_token_says_that_none_could_be_had() -> None:
    kafka: dict[str, kafka_properties.Scalar] = {"sasl.mechanisms": "OAUTHBEARER"}
    said = KafkaError(KafkaError.SASL_AUTHENTICATION_FAILED, "OAuth token not set within 10 seconds timeout")
    assert "no token could be had" in str(kafka_refusals.explain(said, kafka))


@pytest.mark.parametrize(
    ("kafka", "principal"),
    [
        ({"security.protocol": "SASL_SSL", "sasl.mechanisms": "SCRAM-SHA-512", "sasl.username": "w"}, "User:w"),
        ({"security.protocol": "sasl_plaintext", "sasl.mechanism": "PLAIN", "sasl.username": "w"}, "User:w"),
        ({"security.protocol": "SASL_SSL", "sasl.mechanisms": "OAUTHBEARER"}, "User:<principal>"),
        ({"security.protocol": "SSL"}, "User:<principal>"),
        ({}, "User:ANONYMOUS"),
    ],
)
def test_a_principal_is_named_where_this_side_knows_it(kafka: dict[str, str], principal: str) -> None:
    assert principal_of(kafka) == principal
    assert principal in str(denied(kafka, Acl("group", "g", "Read")))


def test_a_consumer_of_each_kind_takes_the_security_settings() -> None:
    kafka: dict[str, kafka_properties.Scalar] = {
        "security.protocol": "SASL_SSL", "sasl.mechanisms": "PLAIN", "sasl.username": "w", "sasl.password": "p",
    }  # fmt: skip
    for made in (
        kafka_properties.producer(kafka, "x"),
        kafka_properties.transactional_producer(kafka, "x", "t"),
        kafka_properties.group_consumer(kafka, "x", "g"),
        kafka_properties.reader(kafka, "x"),
        kafka_properties.admin(kafka, "x"),
    ):
        assert kafka.items() <= made.items()
    Consumer({**kafka_properties.reader(kafka, "x"), "log_level": 0}).close()
