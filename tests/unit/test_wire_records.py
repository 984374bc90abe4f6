"""``schemas/`` and ``pipeline/records.py`` say the same, both ways."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest

from pipeline import description, records, tensors
from pipeline.codecs import schemas

PAIRS = {
    "PredictRequest": records.PredictRequest,
    "PredictResult": records.PredictResult,
    "AspiredVersions": records.AspiredVersions,
    "ServableState": records.ServableState,
    "WorkerState": records.WorkerState,
    "WarmUp": records.WarmUp,
    "StreamState": records.StreamState,
    "Tensor": tensors.Tensor,
    "Error": records.Error,
    "Description": description.Description,
    "Signature": description.Signature,
    "TensorSpec": description.TensorSpec,
    "Source": records.Source,
    "AspiredVersion": records.AspiredVersion,
}


def named(tree: Any) -> dict[str, Any]:
    found: dict[str, Any] = {}
    if isinstance(tree, dict):
        if tree.get("type") in ("record", "enum"):
            found[tree["name"]] = tree
        for value in tree.values():
            found.update(named(value))
    elif isinstance(tree, list):
        for item in tree:
            found.update(named(item))
    return found


ALL: dict[str, Any] = {}
RECORDS = ("PredictRequest", "PredictResult", "AspiredVersions", "ServableState", "WorkerState", "WarmUp")
for name in RECORDS:
    ALL.update(named(json.loads(schemas.text(name))))


@pytest.mark.parametrize("name", PAIRS)
def test_fields_have_the_same_names_in_the_same_order(name: str) -> None:
    assert [field["name"] for field in ALL[name]["fields"]] == [f.name for f in msgspec.structs.fields(PAIRS[name])]


def test_enums_have_the_same_symbols() -> None:
    assert tuple(ALL["Datatype"]["symbols"]) == tensors.DATATYPES == tuple(tensors.DTYPES)
    assert ALL["State"]["symbols"] == [state.value for state in records.State]


@pytest.mark.parametrize("name", RECORDS)
def test_every_field_that_is_not_plain_is_documented(name: str) -> None:
    schema = json.loads(schemas.text(name))
    assert schema["doc"]
    assert schema["namespace"] == "penstock"
