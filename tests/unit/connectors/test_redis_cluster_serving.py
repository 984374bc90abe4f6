"""An entry of Cluster Serving is read as the same request on a topic would be, whatever its fields."""

from __future__ import annotations

import json

from connectors.redis.entries import PlainEntries
from connectors.redis.formats import entries_of
from pipeline.connector import Answer
from pipeline.settings import RouteSettings
from pipeline.settings.routes import complete_route

JOB = complete_route("job", RouteSettings(connector="redis", format="cluster-serving"))
ENTRIES = entries_of(JOB)
ID = b"1700000000000-1"


def test_an_entry_is_the_json_of_a_topic_and_its_key_is_the_uri() -> None:
    record = ENTRIES.record(ID, [b"uri", b"a:b", b"data", b"QUJD"])
    assert json.loads(record.value) == {"uri": "a:b", "data": "QUJD"}
    assert (record.key, record.headers, record.fault) == (b"a:b", [], "")
    assert record.fields == [b"uri", b"a:b", b"data", b"QUJD"]


def test_serde_and_other_fields_are_read() -> None:
    record = ENTRIES.record(ID, [b"data", b"{}", b"serde", b"stream", b"uri", b"u", b"deadline-ms", b"5", b"uri", b"v"])
    assert json.loads(record.value) == {"uri": "u", "data": "{}", "serde": "stream"}
    assert record.headers == [("deadline-ms", b"5")]


def test_an_entry_that_is_none_has_a_fault_and_keeps_its_uri() -> None:
    assert "no field data" in ENTRIES.record(ID, [b"uri", b"u", b"image", b"x"]).fault
    assert "no field uri" in ENTRIES.record(ID, [b"data", b"x"]).fault
    broken = ENTRIES.record(ID, [b"uri", b"u", b"data", b"\xff"])
    assert ("not UTF-8" in broken.fault, broken.key) == (True, b"u")
    many = ENTRIES.record(ID, [b"uri", b"u", b"data", b""] + [b"x"] * 2000)
    assert ("1002 fields" in many.fault, many.headers) == (True, ())


def test_an_entry_of_our_own_is_read_as_it_is() -> None:
    """Its value is the JSON of a topic, or what its content type says."""
    fields = [b"value", b"{}", b"key", b"u", b"content-type", b"cluster-serving"]
    record = ENTRIES.record(ID, fields)
    assert (record.value, record.key, record.fault) == (b"{}", b"u", "")
    assert record.headers == [("content-type", b"cluster-serving")]
    theirs = ENTRIES.record(ID, [b"value", b"5", b"uri", b"u", b"data", b""])
    assert (json.loads(theirs.value)["uri"], theirs.headers) == ("u", [("value", b"5")])


def test_a_result_is_where_their_clients_look_for_it() -> None:
    record = ENTRIES.record(ID, [b"uri", b"a:b", b"data", b"QUJD"])
    commands = ENTRIES.commands(record, Answer(b"NaN", b"a:b", [("error-code", b"model_error")]))
    key = b"cluster-serving_job:a:b"
    assert ("HSET", key, b"value", b"NaN", b"error-code", b"model_error") in commands


def test_a_job_has_their_group_and_other_routes_their_own_entries() -> None:
    assert JOB.group == "serving"
    assert type(entries_of(complete_route("r", RouteSettings(connector="redis")))) is PlainEntries
