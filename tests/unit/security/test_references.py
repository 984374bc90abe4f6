"""Values come from variables and files; what is missing is named, and no value is."""

from __future__ import annotations

import traceback
from pathlib import Path

import pytest

from pipeline import settings
from pipeline.errors import InvalidSettings


def load(folder: Path, text: str, **environ: str) -> settings.Settings:
    path = folder / "penstock.yaml"
    path.write_text(text)
    return settings.load(path, environ)


def test_a_variable_and_a_file_stand_for_their_text_within_other_text_too(tmp_path: Path) -> None:
    (tmp_path / "password").write_text("from a file: ${env:B}\n")
    kafka = load(
        tmp_path,
        "kafka: {sasl.password: '${file:password}', sasl.username: 'u-${env:A}-${env:B}', x: '${other:A}'}",
        A="a",
        B="b",
    ).kafka
    assert kafka == {"sasl.password": "from a file: ${env:B}", "sasl.username": "u-a-b", "x": "${other:A}"}


def test_they_may_stand_in_every_section_and_in_variables(tmp_path: Path) -> None:
    loaded = load(
        tmp_path,
        "servables: {m: {base_path: '${env:MODELS}/m'}}",
        MODELS="/models",
        SECRET="s",
        PENSTOCK_KAFKA__SASL_PASSWORD="${env:SECRET}",
    )
    assert loaded.servables["m"].base_path == "/models/m"
    assert loaded.kafka == {"sasl.password": "s"}


@pytest.mark.parametrize("value", ["0123", "yes", "null", "a: b", "#x", "[", "'quoted'", " "])
def test_a_variable_of_the_kafka_section_is_text_as_it_stands(tmp_path: Path, value: str) -> None:
    assert load(tmp_path, "{}", PENSTOCK_KAFKA__SASL_PASSWORD=value).kafka == {"sasl.password": value}


def test_what_is_missing_is_named_with_its_place(tmp_path: Path) -> None:
    with pytest.raises(InvalidSettings, match=r"kafka\.sasl\.password: the environment has no variable 'NO'"):
        load(tmp_path, "kafka: {sasl.password: '${env:NO}'}", YES="canary")
    with pytest.raises(
        InvalidSettings, match=rf"kafka\.sasl\.password: the file {tmp_path}/no can not be read: No such"
    ):
        load(tmp_path, "kafka: {sasl.password: '${file:no}'}")


def test_a_file_that_is_no_text_is_an_error_without_its_bytes(tmp_path: Path) -> None:
    (tmp_path / "key").write_bytes(b"canary\xff")
    with pytest.raises(InvalidSettings, match="is not UTF-8 text") as caught:
        load(tmp_path, "kafka: {sasl.password: '${file:key}'}")
    assert "canary" not in "".join(traceback.format_exception(caught.value))


@pytest.mark.parametrize("value", ["0123", "yes", "1.5", "12345"])
def test_a_password_that_yaml_reads_as_something_else_is_refused(tmp_path: Path, value: str) -> None:
    with pytest.raises(
        InvalidSettings, match=r"kafka\.sasl\.password: YAML reads this value as \w+, not as text"
    ) as it:
        load(tmp_path, f"kafka: {{sasl.password: {value}}}")
    assert value not in str(it.value).replace(str(tmp_path), "")


def test_a_login_in_a_url_is_refused_where_librdkafka_would_print_it(tmp_path: Path) -> None:
    with pytest.raises(InvalidSettings, match=r"endpoint\.url: a URL with a user and a password") as caught:
        load(tmp_path, "kafka: {sasl.oauthbearer.token.endpoint.url: 'https://u:canary@host'}")
    assert "canary" not in str(caught.value)
