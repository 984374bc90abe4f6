"""Names of schemas, and the subjects they are found in, are Confluent's own."""

from __future__ import annotations

import io
import uuid

import pytest
from confluent_kafka.schema_registry import (
    record_subject_name_strategy,
    topic_record_subject_name_strategy,
    topic_subject_name_strategy,
)
from confluent_kafka.schema_registry.serde import SchemaId
from confluent_kafka.serialization import MessageField, SerializationContext
from hypothesis import given, strategies as st

from pipeline.codecs import confluent
from pipeline.errors import Undecodable
from pipeline.schema_registry.subjects import subject_of


@given(st.integers(0, 2**32 - 1), st.uuids(), st.binary(max_size=8))
def test_what_their_serialisers_write_is_read_and_what_we_write_they_read(
    id_: int, guid: uuid.UUID, body: bytes
) -> None:
    theirs = SchemaId("AVRO", id_, str(guid))
    for ours, bytes_ in (
        (confluent.of_id(id_), theirs.id_to_bytes()),
        (confluent.of_guid(str(guid)), theirs.guid_to_bytes()),
    ):
        assert ours == bytes_
        assert confluent.name_before(bytes_ + body) == bytes_
        assert confluent.name_in_header(bytes_) == bytes_
        assert SchemaId("AVRO").from_bytes(io.BytesIO(ours + body)).read() == body
    assert confluent.id_of(theirs.id_to_bytes()) == id_
    assert confluent.guid_of(theirs.guid_to_bytes()) == str(guid)


@pytest.mark.parametrize("value", [b"", b"\0", b"\0\0\0\1", b"\1" + b"g" * 15, b"\2aaaaaaaa"])
def test_bytes_that_name_no_schema_are_refused(value: bytes) -> None:
    with pytest.raises(Undecodable, match="name no schema"):
        confluent.name_before(value)


@pytest.mark.parametrize("value", [b"", b"7", b"\0\0\0\1", b"\0\0\0\0\1x", b"\1" + b"g" * 17])
def test_a_header_that_holds_anything_else_is_refused(value: bytes) -> None:
    with pytest.raises(Undecodable, match="__value_schema_id"):
        confluent.name_in_header(value)


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        ("topic", topic_subject_name_strategy),
        ("record", record_subject_name_strategy),
        ("topic_record", topic_record_subject_name_strategy),
    ],
)
def test_a_subject_is_the_one_that_their_strategy_of_that_name_gives(ours: str, theirs: object) -> None:
    context = SerializationContext("digits.requests", MessageField.VALUE)
    assert subject_of(ours, "digits.requests", "PredictRequest") == theirs(context, "penstock.PredictRequest")
