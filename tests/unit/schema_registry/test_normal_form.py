"""Another text of the same schema is known as ours, and only that."""

from __future__ import annotations

import json
from typing import Any

import pytest

from pipeline.codecs import schemas
from pipeline.schema_registry.compatibility import why_unreadable
from pipeline.schema_registry.normal_form import is_ours, writer_schema

RECORDS = ("PredictRequest", "PredictResult")


def tree_of(record: str) -> Any:
    return json.loads(schemas.text(record))


def renamed(tree: Any) -> Any:
    """As a build tool for Java rewrites it: a namespace of its own, and attributes on strings."""
    if isinstance(tree, dict):
        return {key: renamed(item) for key, item in tree.items()} | ({"doc": "x"} if "fields" in tree else {})
    if isinstance(tree, list):
        return [renamed(item) for item in tree]
    return {"type": "string", "avro.java.string": "String"} if tree == "string" else tree


@pytest.mark.parametrize("record", RECORDS)
def test_our_schema_is_ours_in_any_namespace_with_any_attributes(record: str) -> None:
    assert is_ours(schemas.text(record), record)
    assert is_ours(json.dumps({**renamed(tree_of(record)), "namespace": "com.acme.ml"}), record)
    assert not is_ours(schemas.text(record), next(other for other in RECORDS if other != record))


def test_a_tensor_that_lies_in_a_subject_of_its_own_is_put_in_its_place() -> None:
    tree = {**tree_of("PredictRequest"), "namespace": "com.acme"}
    [inputs] = [field for field in tree["fields"] if field["name"] == "inputs"]
    tensor, inputs["type"]["items"] = inputs["type"]["items"], "com.acme.Tensor"
    found = writer_schema(json.dumps(tree), [json.dumps({**tensor, "namespace": "com.acme"})])
    assert found.prefix == schemas.prefix("PredictRequest")
    with pytest.raises(ValueError, match="no Avro schema"):
        writer_schema(json.dumps(tree))


def test_a_field_more_or_another_order_of_symbols_is_another_schema_which_ours_may_read() -> None:
    tree = tree_of("PredictRequest")
    tree["fields"].append({"name": "tenant", "type": "string"})
    assert not is_ours(json.dumps(tree), "PredictRequest")
    assert not why_unreadable(schemas.schema("PredictRequest"), writer_schema(json.dumps(tree)).schema)
    text = schemas.text("PredictRequest").replace('"BOOL", "UINT8"', '"UINT8", "BOOL"')
    assert not is_ours(text, "PredictRequest")
    tree["fields"] = tree["fields"][:2]
    reason = why_unreadable(schemas.schema("PredictRequest"), writer_schema(json.dumps(tree)).schema)
    assert "inputs" in reason


@pytest.mark.parametrize(
    "text",
    ["", "nonsense", "7", "null", '{"type": "x"}', '{"type": "enum"}', '{"type": "record", "name": "A"}', "[" * 9999],
)
def test_what_is_no_schema_is_a_value_error(text: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        writer_schema(text)
