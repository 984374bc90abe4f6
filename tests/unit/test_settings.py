"""Settings come from the file, then the environment, then arguments; a mistake names its place."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from pipeline import settings
from pipeline.errors import InvalidSettings

FILE = "servables: {m: {base_path: models/m}}\nroutes: {m: {}}\n"


def write(folder: Path, text: str = FILE) -> Path:
    path = folder / "penstock.yaml"
    path.write_text(text)
    return path


def test_names_that_are_left_empty_follow_the_route(tmp_path: Path) -> None:
    loaded = settings.load(write(tmp_path))
    route = loaded.routes["m"]
    assert (route.servable, route.request_topic, route.result_topic) == ("m", "m.requests", "m.results")
    assert (route.dead_letter_topic, route.group) == ("m.requests-dlt", "penstock.m")


def test_relative_paths_are_taken_from_the_files_directory(tmp_path: Path) -> None:
    loaded = settings.load(write(tmp_path))
    assert loaded.servables["m"].base_path == str(tmp_path / "models/m")
    assert loaded.storage_roots == (str(tmp_path / "models/m"),)


def test_a_base_path_that_is_a_uri_stays_as_it_is_and_names_its_storage(tmp_path: Path) -> None:
    text = "servables: {m: {base_path: 's3://bucket/m'}, n: {base_path: n}, o: {base_path: 'x://y', storage: mine}}"
    loaded = settings.load(write(tmp_path, text))
    assert [stream.storage for stream in loaded.servables.values()] == ["fsspec", "file", "mine"]
    assert loaded.servables["m"].base_path == "s3://bucket/m"
    assert "s3://bucket/m" in loaded.storage_roots


def test_the_environment_stands_above_the_file_and_arguments_above_both(tmp_path: Path) -> None:
    environ = {
        "PENSTOCK_CONFIG": str(write(tmp_path)),
        "PENSTOCK_BOOTSTRAP": "a:1",
        "PENSTOCK_KAFKA__SECURITY_PROTOCOL": "SSL",
        "PENSTOCK_WORKER__WEB_PORT": "7001",
        "OTHER": "x",
    }
    loaded = settings.load(None, environ, {"worker": {"web_port": 7002}})
    assert loaded.kafka == {"bootstrap.servers": "a:1", "security.protocol": "SSL"}
    assert loaded.worker.web_port == 7002


@pytest.mark.parametrize(
    ("sections", "expected"),
    [
        ("", "kafka"),
        ("redis: {url: 'redis://h'}", "redis"),
        ("redis: {url: 'redis://h'}\nkafka: {bootstrap.servers: 'h:9'}", "kafka"),
        ("redis: {url: 'redis://h'}\nkafka: {bootstrap.servers: 'h:9'}\ncontrol: {connector: redis}", "redis"),
        ("redis: {url: 'redis://h'}\ncontrol: {connector: kafka}", "kafka"),
    ],
)
def test_the_control_logs_are_at_the_broker_that_is_named(tmp_path: Path, sections: str, expected: str) -> None:
    assert settings.load(write(tmp_path, FILE + sections)).control.connector == expected


@pytest.mark.parametrize(
    ("control", "complaint"), [("{connector: redis}", r"set redis\.url"), ("{connector: memory}", "not kafka or redis")]
)
def test_control_logs_at_no_broker_are_refused(tmp_path: Path, control: str, complaint: str) -> None:
    with pytest.raises(InvalidSettings, match=complaint):
        settings.load(write(tmp_path, f"{FILE}control: {control}"))


def test_an_address_may_be_a_url_of_redis(tmp_path: Path) -> None:
    loaded = settings.load(write(tmp_path), {"PENSTOCK_BOOTSTRAP": "redis://h:7"})
    assert (loaded.redis.url, loaded.kafka, loaded.control.connector) == ("redis://h:7", {}, "redis")
    loaded = settings.load(write(tmp_path), {"PENSTOCK_BOOTSTRAP": "kafka://h:9"})
    assert (loaded.bootstrap, loaded.control.connector) == ("h:9", "kafka")


def test_a_route_on_redis_lets_its_clients_hear_on_streams_of_their_own(tmp_path: Path) -> None:
    text = "servables: {m: {base_path: models/m}}\nroutes: {m: {connector: redis, reply_topics: [x]}}\n"
    loaded = settings.load(write(tmp_path, text))
    assert loaded.routes["m"].reply_topics == ("x", "m.results@*")


def test_what_to_text_writes_is_read_again(tmp_path: Path) -> None:
    loaded = settings.load(write(tmp_path))
    assert settings.load(write(tmp_path, settings.to_text(loaded))) == loaded


@pytest.mark.parametrize(
    ("overrides", "words"),
    [
        ({"rutes": {}}, "rutes"),
        ({"routes": {"m": {"max_batch_size": "x"}}}, "Expected `int`"),
        ({"routes": {"m": {"max_batch_size": 0}}}, "max_batch_size"),
        ({"routes": {"m": {"result_headers": "all"}}}, "'all' is not minimal or full"),
        ({"routes": {"m": {"headers": {"identity": ["x"]}}}}, "identity"),
        ({"routes": {"m": {"headers": {"id": ["model"]}}}}, "'model' means id already"),
        ({"routes": {"m": {"headers": {"version": [""]}}}}, r"headers\.version: the name of a header"),
        ({"routes": {"m": {"guarantee": "at_most_once"}}}, "at_least_once or exactly_once"),
        ({"routes": {"m": {"revoke_timeout_s": -1}}}, "revoke_timeout_s"),
        ({"routes": {"m": {"servable": "n"}}}, "not among the servables"),
        (
            {"routes": {"m": {"poison_after_kills": 3, "guarantee": "exactly_once"}}},
            "with guarantee: exactly_once it is off",
        ),
        ({"routes": {"m": {"poison_after_kills": 2}}}, r"m\.poison_after_kills: must be 0 \(off\) or at least 3"),
        ({"routes": {"m": {"dead_letters": {"errors": ["model_eror"]}}}}, "'model_eror' is no error code"),
        ({"routes": {"m": {"dead_letters": {"headers": "both of them"}}}}, r"m\.dead_letters\.headers"),
        ({"routes": {"m": {"result_topic": "m.requests"}}}, "read as requests"),
        ({"routes": {"n": {"servable": "m", "request_topic": "m.requests"}}}, "request topic"),
        ({"routes": {"m": {"request_topic": "a b"}}}, "not a name"),
        ({"servables": {"m": {"transition": "quick"}}}, "transition"),
        ({"servables": {"m": {"versions": {"latest": 0}}}}, "latest"),
        ({"worker": {"load_niceness": 20}}, "load_niceness: must be from 0 to 19, got 20"),
        ({"worker": {"load_niceness": -1}}, "load_niceness"),
        ({"servables": {"m": {"versions": {"specific": [-1]}}}}, "specific"),
        ({"servables": {"m": {"complete_when": "now"}}}, "complete_when"),
        ({"servables": {"m": {"isolation": "fork"}}}, "'fork' is not thread or process"),
        ({"servables": {"m": {"processes": -1}}}, r"m\.processes"),
        ({"servables": {"m": {"predict_timeout_s": 0}}}, r"m\.predict_timeout_s"),
        ({"servables": {"m": {"marker": "../x"}}}, "marker"),
        ({"servables": {"m": {"manifest": ""}}}, "manifest"),
        ({"servables": {"m": {"poll_interval_s": 0}}}, r"m\.poll_interval_s"),
        ({"watch": {"quiet_period_s": -1}}, r"watch\.quiet_period_s"),
        ({"watch": {"notify": "x"}}, "notify"),
        ({"watch": {"missing_base_path": "x"}}, "missing_base_path"),
        ({"watch": {"await_versions_s": -1}}, "await_versions_s"),
        ({"worker": {"cache_limit_bytes": -1}}, "cache_limit_bytes"),
        ({"worker": {"retry_failed_after_s": -1}}, "retry_failed_after_s"),
        ({"servables": {"m": {"batching": {"allowed_batch_sizes": [8, 8]}}}}, r"m\.batching\.allowed_batch_sizes"),
        ({"servables": {"m": {"batching": {"allowed_batch_sizes": [0, 8]}}}}, "do not increase from 1"),
        ({"servables": {"m": {"batching": {"allowed_batch_sizes": [8], "max_rows": 4}}}}, "8 is more than max_rows"),
        ({"servables": {"m": {"batching": {"max_rows": -1}}}}, "max_rows"),
        ({"servables": {"m": {"batching": {"variable_length": "cut"}}}}, "'cut' is not group or pad"),
        ({"servables": {"m": {"batching": {"pad_to_multiple_of": 8}}}}, "no effect without variable_length: pad"),
        ({"servables": {"m": {"batching": {"pad_value": {"x": 1}}}}}, "no effect without variable_length: pad"),
        (
            {"servables": {"m": {"batching": {"variable_length": "pad", "pad_to_multiple_of": 0}}}},
            "pad_to_multiple_of: must be at least 1",
        ),
    ],
)
def test_a_mistake_is_an_error_that_names_it(tmp_path: Path, overrides: dict[str, Any], words: str) -> None:
    with pytest.raises(InvalidSettings, match=words):
        settings.load(write(tmp_path), {}, overrides)


@pytest.mark.parametrize("text", ["[1]", "a: [", "\x00"])
def test_a_file_that_is_not_settings_is_an_error_that_names_it(tmp_path: Path, text: str) -> None:
    with pytest.raises(InvalidSettings, match=r"penstock\.yaml"):
        settings.load(write(tmp_path, text))


def test_a_named_file_must_exist_and_the_default_one_need_not(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert settings.load().routes == {}
    with pytest.raises(InvalidSettings):
        settings.load(tmp_path / "other.yaml")
