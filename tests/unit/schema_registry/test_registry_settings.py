"""The section ``schema_registry``: a mistake names its place, a secret is shown nowhere."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import pytest
import yaml

from pipeline import settings
from pipeline.client import InputQueue
from pipeline.client.address import Address
from pipeline.errors import InvalidSettings
from pipeline.schema_registry.client import properties
from pipeline.settings import SchemaRegistrySettings

URL = "http://registry:8081"
SERVABLES = {"m": {"base_path": "models/m"}}


def load(folder: Path, registry: dict[str, Any], **route: Any) -> settings.Settings:
    path = folder / "penstock.yaml"
    path.write_text(yaml.safe_dump({"schema_registry": registry, "servables": SERVABLES, "routes": {"m": route}}))
    return settings.load(path, {"TOKEN": "canary-token", "USER_INFO": "me:canary-word"})


@pytest.mark.parametrize(
    ("registry", "route", "place"),
    [
        ({"url": "registry:8081"}, {}, "url"),
        ({"url": "https://a:canary@b"}, {}, "user_info"),
        ({"url": URL, "user_info": "canary"}, {}, "user_info"),
        ({"url": URL, "user_info": "a:b", "bearer_token": "c"}, {}, "bearer_token"),
        ({"url": URL, "key_file": "k.pem"}, {}, "key_file"),
        ({"url": URL, "subject_name_strategy": "mine"}, {}, "subject_name_strategy"),
        ({"url": URL, "timeout_s": 0}, {}, "timeout_s"),
        ({"url": URL, "wait_s": 61}, {}, "wait_s"),
        ({"url": URL, "uri": URL}, {}, "uri"),
        ({"url": URL}, {"framing_out": "avro"}, "framing_out"),
        ({}, {"framing_out": "confluent"}, "schema_registry.url"),
        (
            {"url": URL},
            {"request_topic": "^.*\\.requests", "result_topic": "{request_topic}.results", "framing_out": "confluent"},
            "subject_name_strategy: record",
        ),
    ],
)
def test_a_mistake_names_its_place(tmp_path: Path, registry: Any, route: Any, place: str) -> None:
    with pytest.raises(InvalidSettings, match=place) as caught:
        load(tmp_path, registry, **route)
    assert "canary" not in str(caught.value)


def test_secrets_come_by_reference_and_are_printed_nowhere(tmp_path: Path) -> None:
    loaded = load(
        tmp_path, {"url": URL, "user_info": "${env:USER_INFO}", "certificate_file": "c.pem", "key_password": "canary"}
    )
    registry = loaded.schema_registry
    assert properties(registry)["basic.auth.user.info"] == "me:canary-word"
    assert registry.certificate_file == str(tmp_path / "c.pem")
    address = Address.of("m", "", {}, schema_registry=msgspec.to_builtins(registry))
    for text in (repr(loaded), repr(registry), repr(address), repr(registry.__rich_repr__())):
        assert "canary" not in text
    token = load(tmp_path, {"url": URL, "bearer_token": "${env:TOKEN}", "logical_cluster": "lsrc-1"}).schema_registry
    assert properties(token)["bearer.auth.token"] == "canary-token"
    assert "canary" not in repr(token)


def test_the_client_takes_a_url_or_a_section_and_checks_both() -> None:
    assert Address.of("m", "", {}).schema_registry is None
    assert Address.of("m", "", {}, schema_registry=URL).schema_registry == SchemaRegistrySettings(url=URL)
    section = {"url": URL, "timeout_s": 1.0}
    assert Address.of("m", "", {}, schema_registry=section).schema_registry == SchemaRegistrySettings(**section)
    for options in (
        {"schema_registry": "registry"},
        {"schema_registry": {"uri": URL}},
        {"framing": "avro"},
        {"framing": "confluent"},
    ):
        with pytest.raises(InvalidSettings):
            InputQueue("m", **options)  # type: ignore[arg-type]  # wrong on purpose
